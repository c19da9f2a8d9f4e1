package discovery

import (
	"errors"
	"fmt"
	"time"
)

// Config holds the settings of the service.
type Config struct {
	// Lease is how long a silent workload stays READY.
	Lease time.Duration
	// Heartbeat is how often sidecars are asked to be heard.
	Heartbeat time.Duration
	// Reconnect is how long sidecars of a replica that died get, beyond the lease, to find another one.
	Reconnect time.Duration
	// Sweep is how often leases are looked at.
	Sweep time.Duration
	// StaticFiles hold services and workloads that are kept as they say.
	StaticFiles []string
	// Reread is how often static files are read when nothing says that they changed.
	Reread time.Duration
	// History is how many changes are kept for watchers that resume; 0: the feed's default.
	History int
}

// Default is what a Config is unless somebody says otherwise.
func Default() Config {
	return Config{
		Lease: 10 * time.Second, Heartbeat: 3 * time.Second, Reconnect: 5 * time.Second, Sweep: time.Second,
		Reread: 30 * time.Second,
	}
}

// Validate reports all problems of the configuration.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"lease", c.Lease}, {"heartbeat", c.Heartbeat}, {"reconnect", c.Reconnect}, {"sweep", c.Sweep}, {"reread", c.Reread}} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s is %s, must be positive", d.name, d.value))
		}
	}
	if c.Heartbeat >= c.Lease {
		errs = append(errs, fmt.Errorf("heartbeat %s must be shorter than the lease of %s", c.Heartbeat, c.Lease))
	}
	return errors.Join(errs...)
}
