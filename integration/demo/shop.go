package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
)

// member is one program of the shop, as `weft run` starts it.
type member struct {
	name      string // of the workload
	service   string
	protocol  string
	version   string
	upstreams []string
	command   func(port int) []string
}

// startShop starts every program and returns when all of them are endpoints.
func (d *demo) startShop(ctx context.Context) error {
	apps, err := d.members()
	if err != nil {
		return err
	}
	d.shop = map[string]*harness.Process{}
	for _, m := range apps {
		if err := d.startMember(m); err != nil {
			return err
		}
	}
	return d.eventually(ctx, 40*time.Second, func() error { return d.allServed(ctx, apps) })
}

func (d *demo) startMember(m member) error {
	port, err := d.free.Port()
	if err != nil {
		return err
	}
	args := []string{d.weft(), "run", "--name", m.name, "--service", m.service, "--port", fmt.Sprint(port)}
	if m.protocol != "" {
		args = append(args, "--protocol", m.protocol)
	}
	if m.version != "" {
		args = append(args, "--label", "version="+m.version)
	}
	args = append(args, d.upstreams(m.upstreams...)...)
	p, err := d.start(m.name, nil, append(append(args, "--"), m.command(port)...)...)
	d.shop[m.name] = p
	return err
}

// allServed says which workload is not an endpoint yet.
func (d *demo) allServed(ctx context.Context, apps []member) error {
	var got struct {
		Endpoints []struct{ Workload string }
	}
	if err := d.ask(ctx, &got, "services"); err != nil {
		return err
	}
	have := map[string]bool{}
	for _, e := range got.Endpoints {
		have[e.Workload] = true
	}
	for _, m := range apps {
		if d.shop[m.name].Ended() {
			return harness.Fatal{Err: fmt.Errorf("%s ended", m.name)}
		}
		if !have[m.name] {
			return fmt.Errorf("%s is not an endpoint of %s yet", m.name, m.service)
		}
	}
	return nil
}

// members is the shop: Python, node and redis where this machine has them, Go in their place where it has not.
func (d *demo) members() ([]member, error) {
	shop := filepath.Join(d.bin, "weft-shop")
	if _, err := os.Stat(shop); err != nil {
		return nil, fmt.Errorf("the shop's programs are not built: %w", err)
	}
	goApp := func(args ...string) func(int) []string {
		return func(port int) []string {
			return append([]string{shop, args[0], "--listen", fmt.Sprintf("127.0.0.1:%d", port)}, args[1:]...)
		}
	}
	apps, err := d.unpackApps()
	if err != nil {
		return nil, err
	}
	reviews1, reviews2 := goApp("reviews", "--version", "v1"), goApp("reviews", "--version", "v2", "--ratings", d.at("ratings"))
	if python, ok := have("python3"); ok {
		reviews1 = func(port int) []string { return []string{python, apps + "/reviews.py", fmt.Sprint(port), "v1"} }
		reviews2 = func(port int) []string {
			return []string{python, apps + "/reviews.py", fmt.Sprint(port), "v2", d.at("ratings")}
		}
		d.languages = append(d.languages, "Python (reviews)")
	}
	ratings := goApp("ratings")
	if node, ok := have("node"); ok {
		ratings = func(port int) []string { return []string{node, apps + "/ratings.js", fmt.Sprint(port)} }
		d.languages = append(d.languages, "JavaScript (ratings)")
	}
	store := goApp("store")
	if redis, ok := have("redis-server"); ok {
		store = func(port int) []string {
			return []string{redis, "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--appendonly", "no", "--dir", d.dir}
		}
		d.languages = append(d.languages, "redis (store)")
	}
	return []member{
		{name: "store-1", service: "store", protocol: "tcp", command: store},
		{name: "ratings-1", service: "ratings", command: ratings},
		{name: "reviews-v1", service: "reviews", version: "v1", command: reviews1},
		{name: "reviews-v2a", service: "reviews", version: "v2", upstreams: []string{"ratings"}, command: reviews2},
		{name: "reviews-v2b", service: "reviews", version: "v2", upstreams: []string{"ratings"}, command: reviews2},
		{name: "cart-1", service: "cart", protocol: "grpc", upstreams: []string{"store"}, command: goApp("cart", "--store", d.at("store"))},
		{name: "cart-2", service: "cart", protocol: "grpc", upstreams: []string{"store"}, command: goApp("cart", "--store", d.at("store"))},
		{name: "web-1", service: "web", protocol: "http", upstreams: []string{"reviews", "cart"}, command: goApp("web", "--reviews", d.at("reviews"), "--cart", d.at("cart"))},
	}, nil
}

func have(program string) (string, bool) {
	path, err := exec.LookPath(program)
	return path, err == nil
}

// unpackApps writes the programs in other languages into the run's folder.
func (d *demo) unpackApps() (string, error) {
	dir := filepath.Join(d.dir, "apps")
	return dir, os.CopyFS(dir, otherLanguages())
}

// startLoad starts the load generator, a program of the mesh like any other.
func (d *demo) startLoad(ctx context.Context) error {
	d.tally = &watcher{}
	args := append([]string{d.weft(), "run", "--name", "load-1", "--account", "load"}, d.upstreams("web")...)
	args = append(args, "--", filepath.Join(d.bin, "weft-shop"), "load", "--target", d.at("web"), "--rate", fmt.Sprint(d.rate))
	_, err := d.start("load", d.tally, args...)
	if err != nil {
		return err
	}
	return d.eventually(ctx, 20*time.Second, func() error {
		if d.tally.now().OK < d.rate {
			return fmt.Errorf("load generator has %d answers", d.tally.now().OK)
		}
		return nil
	})
}
