package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/integration/bench/peers"
)

// profile takes CPU profiles of Weft's sidecars, if profiles were asked for, in a round that is not counted.
func (s *stage) profile(ctx context.Context, sc scenario) error {
	if s.opts.Profiles == "" {
		return nil
	}
	for _, c := range s.contenders {
		if c.Name != peers.Weft {
			continue
		}
		done := make(chan error, 2)
		for _, name := range []string{"client", sc.Protocol} {
			go func() { done <- s.save(ctx, c, name, sc.Name) }()
		}
		_, err := s.sample(c, sc)
		for range 2 {
			if e := <-done; err == nil {
				err = e
			}
		}
		if err != nil {
			return fmt.Errorf("profile %s: %w", sc.Name, err)
		}
	}
	return nil
}

// save writes the profile of one sidecar over the time of a round.
func (s *stage) save(ctx context.Context, c *peers.Contender, sidecar, scenario string) error {
	raw, err := os.ReadFile(c.State(sidecar, "ports.json"))
	if err != nil {
		return err
	}
	var ports struct{ Admin string }
	if err := json.Unmarshal(raw, &ports); err != nil {
		return err
	}
	seconds := max(1, int((s.opts.Warm + s.opts.For).Seconds()))
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", ports.Admin, seconds), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := os.MkdirAll(s.opts.Profiles, 0o755); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(s.opts.Profiles, strings.Join([]string{scenario, sidecar, "pprof"}, ".")))
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, resp.Body)
	return err
}
