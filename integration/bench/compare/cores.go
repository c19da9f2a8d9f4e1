package compare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/integration/bench/peers"
)

// cores gives the proxies the last core that this process may use, everybody else the one before it, and moves this process, with
// whatever it starts from now on, to the latter.
func (r *run) cores() error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("cores: %w", err)
	}
	var mine []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			mine = append(mine, i)
		}
	}
	if len(mine) == 1 && r.opts.Brief {
		mine = append(mine, mine[0])
	}
	if len(mine) < 2 {
		return errors.New("two cores are needed: one for the proxies, one for client and app")
	}
	mine = mine[len(mine)-2:]
	r.others, r.proxies = strconv.Itoa(mine[0]), strconv.Itoa(mine[1])
	r.all = r.others + "," + r.proxies
	r.report.Facts.Proxies, r.report.Facts.Others = r.proxies, r.others
	set.Zero()
	set.Set(mine[0])
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(filepath.Base(t))
		if err != nil {
			return err
		}
		// New threads take after those that start them; one that has ended needs no core.
		if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("pin thread %d: %w", id, err)
		}
	}
	return nil
}

// contenders are those that were asked for, and why some are not there.
func contenders(o Options) (names []string, absent map[string]string, err error) {
	wanted := peers.Names()
	if o.Peers != "" {
		wanted = append([]string{peers.Weft}, slices.DeleteFunc(strings.Split(o.Peers, ","), func(s string) bool { return s == peers.Weft })...)
	}
	absent = map[string]string{}
	for _, name := range wanted {
		var program string
		switch name {
		case peers.Weft:
			program = filepath.Join(o.Bin, "weft-proxy")
		case peers.Nginx:
			program = filepath.Join(o.Debian, "usr/lib/nginx/modules/ngx_stream_module.so")
		case peers.HAProxy:
			program = filepath.Join(o.Debian, "usr/sbin/haproxy")
		case peers.Envoy:
			program = filepath.Join(o.Envoy, "envoy")
		case peers.NetHTTP:
		default:
			return nil, nil, fmt.Errorf("there is no contender %q: there are %s", name, strings.Join(peers.Names(), ", "))
		}
		_, err := os.Stat(program)
		switch {
		case program == "" || err == nil:
			names = append(names, name)
		case o.Peers != "" || name == peers.Weft:
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		default:
			absent[name] = err.Error()
		}
	}
	if _, err := exec.LookPath("taskset"); err != nil {
		return nil, nil, err
	}
	return names, absent, nil
}
