package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Tally is what the load generator has seen since it started; it prints one as a line of JSON several times a second.
type Tally struct {
	Sent     int            `json:"sent"`
	OK       int            `json:"ok"`
	Failures map[string]int `json:"failures"`
	Versions map[string]int `json:"versions"`
}

type tally struct {
	mu sync.Mutex
	t  Tally
}

func (t *tally) add(version string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.t.Sent++
	if err != nil {
		t.t.Failures[failure(err)]++
		return
	}
	t.t.OK++
	t.t.Versions[version]++
}

// failure names a failure by the mesh's typed reason where there is one.
func failure(err error) string {
	var up *upstreamError
	if !errors.As(err, &up) {
		return "client: " + err.Error()
	}
	for part := range strings.SplitSeq(up.reason, ",") {
		if reason, ok := strings.CutPrefix(strings.TrimSpace(part), "reason="); ok {
			return reason
		}
	}
	return fmt.Sprintf("status %d", up.status)
}

func (t *tally) print() {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(t.t)
}

// end waits for the answers that are due.
func (t *tally) end(running *sync.WaitGroup) error {
	running.Wait()
	t.print()
	return nil
}

// answer is what the front end and reviews have in common.
type answer struct {
	Version string `json:"version"`
	Review  review `json:"review"`
}

func (a answer) version() string {
	if a.Version != "" {
		return a.Version
	}
	return a.Review.Version
}

// load sends requests at a fixed rate, whatever the answers (an open loop), until it is stopped.
func load(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	target := fs.String("target", "", "address of the front end")
	path := fs.String("path", "/product/", "path of the requests, to which a product is added")
	rate := fs.Int("rate", 100, "requests a second")
	total := fs.Int("total", 0, "end after this many requests (default: when stopped)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *target == "" || *rate < 1 || *rate > 10000 {
		return errors.New("--target is needed, --rate is from 1 to 10000")
	}
	seen := &tally{t: Tally{Failures: map[string]int{}, Versions: map[string]int{}}}
	client := newClient()
	client.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
	send := time.NewTicker(time.Second / time.Duration(*rate))
	defer send.Stop()
	show := time.NewTicker(250 * time.Millisecond)
	defer show.Stop()
	var running sync.WaitGroup
	for n := 0; ; {
		select {
		case <-send.C:
			n++
			url := fmt.Sprintf("http://%s%sp%d", *target, *path, n%50)
			running.Go(func() {
				var got answer
				err := fetch(context.WithoutCancel(ctx), client, url, &got)
				seen.add(got.version(), err)
			})
		case <-show.C:
			seen.print()
		case <-ctx.Done():
			return seen.end(&running)
		}
		if n == *total && n > 0 {
			return seen.end(&running)
		}
	}
}

// probe sends one request and prints the status and, when the mesh refused it, why.
func probe(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("probe", flag.ContinueOnError)
	url := fs.String("url", "", "what to get")
	if err := fs.Parse(args); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, *url, nil)
	if err != nil {
		return err
	}
	resp, err := newClient().Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode, resp.Header.Get("weft-error"))
	return nil
}
