package main

import (
	"io/fs"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

const (
	// gcPercent trades some megabytes for fewer collections: a sidecar's live heap is a few megabytes, and the default would
	// collect at every other one.
	gcPercent = 300
	// memoryShare of the container's limit is where the collector starts to work harder rather than be killed.
	memoryShare = 0.9
)

// tune fits the runtime to the container. What the environment sets (GOMAXPROCS, GOGC, GOMEMLIMIT) is left alone.
func tune(log *zap.Logger, root fs.FS, env lookup) {
	limits := readLimits(root)
	// The runtime rounds a limit below two up to two. On one CPU a second P only adds wake-ups, which multiply tail latency.
	if _, set := env("GOMAXPROCS"); !set && limits.cpus > 0 && limits.cpus <= 1 {
		runtime.GOMAXPROCS(1)
	}
	if _, set := env("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	// The runtime does not read the container's memory limit.
	if _, set := env("GOMEMLIMIT"); !set && limits.memory > 0 {
		debug.SetMemoryLimit(int64(float64(limits.memory) * memoryShare))
	}
	log.Debug("runtime is tuned", zap.Int("gomaxprocs", runtime.GOMAXPROCS(0)), zap.Float64("cpu_limit", limits.cpus), zap.Int64("memory_limit", limits.memory))
}

// limits of the cgroup; 0: none.
type limits struct {
	cpus   float64
	memory int64
}

// readLimits finds the tightest limits of this process's cgroup (version 2) and those above it.
func readLimits(root fs.FS) limits {
	var l limits
	raw, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return l
	}
	for line := range strings.Lines(string(raw)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		if !ok {
			continue
		}
		for dir := path.Join("sys/fs/cgroup", group); ; dir = path.Dir(dir) {
			l.tighten(root, dir)
			if dir == "sys/fs/cgroup" || !strings.HasPrefix(dir, "sys/fs/cgroup") {
				break
			}
		}
	}
	return l
}

func (l *limits) tighten(root fs.FS, dir string) {
	if raw, err := fs.ReadFile(root, path.Join(dir, "cpu.max")); err == nil {
		if cpus := parseCPU(string(raw)); cpus > 0 && (l.cpus == 0 || cpus < l.cpus) {
			l.cpus = cpus
		}
	}
	if raw, err := fs.ReadFile(root, path.Join(dir, "memory.max")); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64); err == nil && n > 0 && (l.memory == 0 || n < l.memory) {
			l.memory = n
		}
	}
}

// parseCPU reads "quota period"; "max" is no limit.
func parseCPU(text string) float64 {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return 0
	}
	quota, err := strconv.ParseFloat(fields[0], 64)
	period, err2 := strconv.ParseFloat(fields[1], 64)
	if err != nil || err2 != nil || period <= 0 {
		return 0
	}
	return quota / period
}
