package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"
)

// serveHTTP serves until ctx ends, then lets requests in flight finish.
func serveHTTP(ctx context.Context, addr string, h http.Handler) error {
	server := &http.Server{Addr: addr, Handler: h}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(ctx))
}

// newClient keeps connections, as any decent program does.
func newClient() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
}

// fetch gets JSON and returns what the server said when it is not 200.
func fetch(ctx context.Context, client *http.Client, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		// The answer had begun when its sender died: nobody can send such a request again behind our back.
		return &upstreamError{url: url, status: http.StatusBadGateway, reason: "reason=truncated"}
	}
	if resp.StatusCode != http.StatusOK {
		reason := resp.Header.Get("weft-error")
		if reason == "" {
			reason = resp.Header.Get(upstreamErrorHeader)
		}
		return &upstreamError{url: url, status: resp.StatusCode, reason: reason}
	}
	return json.Unmarshal(body, into)
}

// upstreamErrorHeader passes on why a service further down failed, so that the load generator can count reasons.
const upstreamErrorHeader = "x-upstream-error"

// upstreamError is an answer of another service that is not 200.
type upstreamError struct {
	url    string
	status int
	reason string
}

func (e *upstreamError) Error() string {
	return fmt.Sprintf("GET %s: %d %s", e.url, e.status, e.reason)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the client has gone when this fails
}

func writeError(w http.ResponseWriter, err error) {
	var up *upstreamError
	if errors.As(err, &up) && up.reason != "" {
		w.Header().Set(upstreamErrorHeader, up.reason)
	}
	http.Error(w, err.Error(), http.StatusBadGateway)
}

// review is one opinion on a product; the Python and Go versions of the service answer alike.
type review struct {
	Version string `json:"version"`
	Text    string `json:"text"`
	Stars   int    `json:"stars"`
}

// reviews answers GET /reviews/<product>. Version v2 also asks ratings for stars.
func reviews(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("reviews", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:9080", "address to listen on")
	version := fs.String("version", "v1", "version to report")
	stars := fs.String("ratings", "", "address of ratings; empty: no stars")
	if err := fs.Parse(args); err != nil {
		return err
	}
	client := newClient()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /reviews/{product}", func(w http.ResponseWriter, r *http.Request) {
		answer := review{Version: *version, Text: "Does what it says."}
		if *stars != "" {
			var got struct{ Stars int }
			if err := fetch(r.Context(), client, "http://"+*stars+"/ratings/"+r.PathValue("product"), &got); err != nil {
				writeError(w, err)
				return
			}
			answer.Stars = got.Stars
		}
		writeJSON(w, answer)
	})
	return serveHTTP(ctx, *listen, mux)
}

// ratings answers GET /ratings/<product>.
func ratings(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("ratings", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:9080", "address to listen on")
	if err := fs.Parse(args); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ratings/{product}", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, map[string]int{"stars": 1 + len(r.PathValue("product"))%5})
	})
	return serveHTTP(ctx, *listen, mux)
}
