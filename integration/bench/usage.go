package main

import (
	"fmt"
	"time"
)

// usage is what processes have used so far, by name; "sidecars" is all of them together.
type usage struct {
	at  time.Time
	cpu map[string]time.Duration
}

// processes are the pids by name.
func (b *bench) processes() map[string][]int {
	out := map[string][]int{}
	for _, name := range append(b.mesh.Instances(), "etcd") {
		if pid, err := b.mesh.Pid(name); err == nil {
			out[name] = []int{pid}
		}
	}
	for _, w := range b.fleet.workers {
		out["sidecars"] = append(out["sidecars"], w.cmd.Process.Pid)
	}
	return out
}

// use reads the CPU time of all processes; one that has ended has none.
func (b *bench) use() usage {
	u := usage{at: time.Now(), cpu: map[string]time.Duration{}}
	for name, pids := range b.processes() {
		for _, pid := range pids {
			if spent, err := cpuOf(pid); err == nil {
				u.cpu[name] += spent
			}
		}
	}
	return u
}

// since gives the CPU time of some processes since another reading.
func (u usage) since(before usage, names ...string) time.Duration {
	var sum time.Duration
	for _, name := range names {
		sum += max(0, u.cpu[name]-before.cpu[name])
	}
	return sum
}

// memory is RssAnon of an instance in KiB.
func (b *bench) memory(name string) (float64, error) {
	pid, err := b.mesh.Pid(name)
	if err != nil {
		return 0, err
	}
	kib, err := anonOf(pid)
	return float64(kib), err
}

// counters are those of the distributor's replicas that run, added up.
func (b *bench) counters() (map[string]float64, error) {
	out := map[string]float64{}
	for _, name := range b.running {
		url, err := b.mesh.Health(name)
		if err != nil {
			return nil, err
		}
		metrics, err := metricsOf(url)
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", name, err)
		}
		for k, v := range metrics {
			out[k] += v
		}
	}
	return out, nil
}

// Names of what the distributor counts.
const (
	mUpdates   = "weft_distributor_updates_total"
	mBytes     = "weft_distributor_update_bytes_total"
	mResources = "weft_distributor_update_resources_total"
	mFull      = "weft_distributor_full_updates_total"
	mCompile   = "weft_distributor_compile_seconds_sum"
	mCompiles  = "weft_distributor_compile_seconds_count"
)

func percentile(sorted []int64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(float64(len(sorted))*p))]) / 1e6
}
