package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"sync"
)

// tally is what the load generator has seen since it started.
type tally struct {
	Sent     int            `json:"sent"`
	OK       int            `json:"ok"`
	Failures map[string]int `json:"failures"`
	Versions map[string]int `json:"versions"`
}

// since is the difference to an earlier tally.
func (t tally) since(old tally) tally {
	return tally{Sent: t.Sent - old.Sent, OK: t.OK - old.OK, Failures: minus(t.Failures, old.Failures), Versions: minus(t.Versions, old.Versions)}
}

func (t tally) failed() int {
	n := 0
	for _, count := range t.Failures {
		n += count
	}
	return n
}

func minus(now, old map[string]int) map[string]int {
	out := maps.Clone(now)
	for k, v := range old {
		out[k] -= v
		if out[k] == 0 {
			delete(out, k)
		}
	}
	return out
}

// watcher reads tallies, a line of JSON each, as the load generator prints them.
type watcher struct {
	mu   sync.Mutex
	rest []byte
	last tally
}

// Write takes what the load generator prints.
func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.rest = rest
		var t tally
		if json.Unmarshal(line, &t) == nil {
			w.last = t
		}
	}
}

func (w *watcher) now() tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}
