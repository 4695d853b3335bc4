package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// migrate is what `service migrate [WORD…]` does instead of serving: as many steps as a real migration has, one line
// each, and then its end. The words choose another end:
//
//	fail=N           exit with code N after the second step
//	pause=DURATION   take so long for each step
//	memory           fill memory until the kernel ends it
//
// It returns the exit code.
func migrate(stop context.Context, s *service, words []string) int {
	steps := []string{
		"create table invoice_lines",
		"copy 12 480 rows from invoices.lines",
		"create index invoice_lines_invoice",
		"drop column invoices.lines",
	}
	fail, pause := 0, 150*time.Millisecond
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "fail":
			fail, _ = strconv.Atoi(value)
		case "pause":
			pause, _ = time.ParseDuration(value)
		case "memory":
			outOfMemory(stop, s)
		}
	}
	fmt.Printf("migrating with %s: %d steps\n", s.Version, len(steps))
	for n, step := range steps {
		fmt.Printf("step %d of %d: %s\n", n+1, len(steps), step)
		select {
		case <-stop.Done():
			fmt.Fprintln(os.Stderr, "stopped: SIGTERM received, the open transaction is rolled back")
			return 143
		case <-time.After(pause):
		}
		if fail != 0 && n == 1 {
			fmt.Fprintln(os.Stderr, `ERROR: relation "invoice_lines" already exists`)
			return fail
		}
	}
	fmt.Println("done")
	return 0
}
