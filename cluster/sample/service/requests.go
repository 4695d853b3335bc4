package main

import (
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"sync"
)

// The requests that were answered, by their status: what an error ratio is made of.
type requests struct {
	mutex  sync.Mutex
	byCode map[int]int
}

// counted counts what a handler answers.
func (r *requests) counted(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		answer := &answer{ResponseWriter: w, code: http.StatusOK}
		handler(answer, request)
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if r.byCode == nil {
			r.byCode = map[int]int{}
		}
		r.byCode[answer.code]++
	}
}

// An answer remembers its status.
type answer struct {
	http.ResponseWriter
	code int
}

func (a *answer) WriteHeader(code int) {
	a.code = code
	a.ResponseWriter.WriteHeader(code)
}

// show writes them in Prometheus' text format.
func (r *requests) show(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = fmt.Fprint(w, "# HELP http_requests_total Requests that were answered.\n# TYPE http_requests_total counter\n")
	r.mutex.Lock()
	defer r.mutex.Unlock()
	codes := make([]int, 0, len(r.byCode))
	for code := range r.byCode {
		codes = append(codes, code)
	}
	sort.Ints(codes)
	for _, code := range codes {
		_, _ = fmt.Fprintf(w, "http_requests_total{code=\"%d\"} %d\n", code, r.byCode[code])
	}
}

// fails answers with the status that the request asks for ("/work?status=503"), so that a version can be made to fail
// while somebody watches it.
func fails(w http.ResponseWriter, r *http.Request) bool {
	code, err := strconv.Atoi(r.URL.Query().Get("status"))
	if err != nil || code < 400 || code > 599 {
		return false
	}
	http.Error(w, "failed, as it was asked to", code)
	return true
}
