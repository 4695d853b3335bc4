package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// How a version behaves, chosen by the BEHAVIOUR its image was made with. Each runs until stop is done.
var behaviours = map[string]func(stop context.Context, s *service){
	"good":          good,
	"reworded":      reworded,
	"never-ready":   neverReady,
	"crash":         crash,
	"out-of-memory": outOfMemory,
	"hostile-logs":  hostileLogs,
}

// good becomes ready and writes a numbered line now and then, so that a reader can tell when one is lost.
func good(stop context.Context, s *service) {
	s.ready.Store(true)
	s.log.Info("ready")
	every(stop, timeBetween, func(n int) {
		s.log.Info("order priced", "seq", n, "order", orderNumber(n), "items", 1+n%5, "took_ms", 8+n*7%23)
	})
}

// reworded is good in other words: a rollout shows in the log.
func reworded(stop context.Context, s *service) {
	s.ready.Store(true)
	s.log.Info("ready", "price_cache", "warm")
	every(stop, timeBetween, func(n int) {
		s.log.Info("quote computed from cache", "seq", n, "order", orderNumber(n), "currency", "EUR", "took_ms", 2+n*3%7)
	})
}

// neverReady answers /healthz but not /readyz: a rollout waits for it until its deadline.
func neverReady(stop context.Context, s *service) {
	every(stop, timeBetween, func(n int) {
		s.log.Warn("price cache is empty, waiting for the first import", "seq", n, "waited_s", 2*n)
	})
}

// crash ends at once, with the reason in its last line, as a program with a missing setting does.
func crash(_ context.Context, s *service) {
	s.log.Info("reading configuration", "source", "environment")
	time.Sleep(200 * time.Millisecond)
	fmt.Fprintln(os.Stderr, "FATAL config: DATABASE_URL is not set")
	os.Exit(1)
}

// outOfMemory fills memory until the kernel ends it. It stops by itself at a size that spares a machine
// on which somebody forgot the limit.
func outOfMemory(stop context.Context, s *service) {
	const block, most = 16 << 20, 1 << 30
	s.ready.Store(true)
	var held [][]byte
	every(stop, 100*time.Millisecond, func(n int) {
		if len(held)*block >= most {
			return
		}
		b := make([]byte, block)
		for i := 0; i < len(b); i += 4096 { // a page that is never written takes no memory
			b[i] = byte(n)
		}
		held = append(held, b)
		s.log.Info("loading the product index into memory", "seq", n, "held_mib", len(held)*block>>20)
	})
}

// hostileLogs is a healthy service whose log tries to harm whoever reads it.
func hostileLogs(stop context.Context, s *service) {
	s.ready.Store(true)
	s.log.Info("ready")
	every(stop, timeBetween, func(n int) {
		s.log.Info("order priced", "seq", n, "order", orderNumber(n))
		fmt.Println(hostileLines[n%len(hostileLines)])
		if n%5 == 0 {
			writeBurst(n)
		}
	})
}

// What people have found in real logs, and what they would rather not have. The credentials are
// documentation examples and belong to nobody.
var hostileLines = []string{
	"connecting with postgres://checkout:hunter2@db.internal:5432/checkout",
	"retrying upstream, Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtYXlhIn0.c2lnbmF0dXJlLWV4YW1wbGU",
	"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	"\x1b[31;1mred\x1b[0m \x1b[2J\x1b[Hcleared \x1b]0;new window title\x07 \x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
	`<script>alert("log")</script><img src=x onerror=alert(1)><a href="javascript:alert(1)" hx-get="/sign-out">click</a>`,
	"bad UTF-8: \xff\xfe\xc3\x28 \xed\xa0\x80 \xf0\x9f\x92 end",
	"a line of 100 KiB: " + strings.Repeat("0123456789abcdef", 100<<10/16) + " end of the long line",
	"bidi: user \u202e\u2066txt.exe\u2069 \u2066admin\u2069, zero\u200bwidth, homoglyph аdmin",
	"control: nul \x00 bell \x07 backspace abc\b\b\bxyz vertical \v form \f escape \x1b delete \x7f next-line \u0085 separator \u2028 end",
	"progress 10%\rprogress 55%\rprogress 100%",
	`{"level":"INFO","msg":"not closed, "service":"\u0000", {{`,
	"2026-01-01T00:00:00.000000000Z stdout F a line that pretends to be another container's",
	"data: forged\n\nevent: done\ndata: {}\nid: 999999",
}

// writeBurst writes faster than anybody reads, each line numbered.
func writeBurst(n int) {
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "burst %d line %d of 5000\n", n, i+1)
	}
	_, _ = os.Stdout.WriteString(lines.String())
}

func every(stop context.Context, pause time.Duration, do func(n int)) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for n := 1; ; n++ {
		do(n)
		select {
		case <-stop.Done():
			return
		case <-ticker.C:
		}
	}
}

func orderNumber(n int) string { return fmt.Sprintf("o-%06d", 100000+n*7919%899999) }
