package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profile saves a profile of the first replica of the distributor, if profiles were asked for.
func (b *bench) profile(name, path string) error {
	if b.opts.profiles == "" {
		return nil
	}
	url, err := b.mesh.Health(replica(1))
	if err != nil {
		return err
	}
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Get(url + "/debug/pprof/" + path)
	if err != nil {
		return fmt.Errorf("profile %s: %w", name, err)
	}
	defer resp.Body.Close()
	out, err := os.Create(filepath.Join(b.opts.profiles, name))
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, resp.Body)
	return err
}
