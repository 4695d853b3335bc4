// The sample service: what the development cluster runs in the place of a company's own programs.
//
// One static binary is every version of every service. The image bakes in VERSION and BEHAVIOUR, so a tag
// fails in the way its tag promises: see behaviours.go. The name is the workload's, read from the pod's name.
// With the word migrate it does not serve: see migrate.go. How its requests go is at /metrics: see requests.go.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	address       = ":8080"
	timeToFinish  = 5 * time.Second
	timeBetween   = 2 * time.Second
	workPerAnswer = 20 * time.Millisecond
)

// A service is what one pod knows about itself.
type service struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Pod     string `json:"pod"`

	log      *slog.Logger
	ready    atomic.Bool
	requests requests
}

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	s := newService()
	if len(os.Args) > 1 && os.Args[1] == "migrate" {
		os.Exit(migrate(stop, s, os.Args[2:]))
	}
	behave, known := behaviours[os.Getenv("BEHAVIOUR")]
	if !known {
		behave = good
	}
	s.log.Info("starting", "address", address)

	server := &http.Server{Addr: address, Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			s.log.Error("cannot listen", "address", address, "error", err)
			os.Exit(1)
		}
	}()
	go behave(stop, s)

	<-stop.Done()
	s.finish(server)
}

func newService() *service {
	pod, _ := os.Hostname()
	s := &service{Name: nameFrom(pod), Version: os.Getenv("VERSION"), Pod: pod}
	s.log = slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("service", s.Name, "version", s.Version)
	return s
}

// What Kubernetes appends to a workload's name: "-6d4f8b9c7d-x2x9z" for a Deployment, "-0" for a StatefulSet,
// "-x2x9z" for a DaemonSet.
var podSuffix = regexp.MustCompile(`(-[bcdf0-9ghjklmnpqrstvwxz]{6,10})?-[bcdfghjklmnpqrstvwxz0-9]{5}$|-[0-9]+$`)

func nameFrom(pod string) string {
	if name := os.Getenv("SERVICE_NAME"); name != "" {
		return name
	}
	return podSuffix.ReplaceAllString(pod, "")
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "not ready: the price cache is still empty", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /metrics", s.requests.show)
	mux.HandleFunc("GET /work", s.requests.counted(func(w http.ResponseWriter, r *http.Request) {
		if fails(w, r) {
			return
		}
		began := time.Now()
		rounds := keepBusy(began.Add(workPerAnswer))
		s.log.Info("work done", "rounds", rounds, "took_ms", time.Since(began).Milliseconds())
		_, _ = w.Write([]byte("done\n"))
	}))
	return mux
}

// keepBusy uses the processor until the deadline, as real work would.
func keepBusy(deadline time.Time) (rounds int) {
	for x := uint32(1); time.Now().Before(deadline); rounds++ {
		for range 1000 {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
		}
	}
	return rounds
}

// finish stops taking new requests, lets the running ones end, and says so.
func (s *service) finish(server *http.Server) {
	s.ready.Store(false)
	s.log.Info("stopping: SIGTERM received, finishing what runs")
	patience, cancel := context.WithTimeout(context.Background(), timeToFinish)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		s.log.Error("stopped with requests unfinished", "error", err)
		os.Exit(1)
	}
	s.log.Info("stopped")
}
