package compare

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/weft-mesh/weft/integration/bench/peers"
)

// versions are what the contenders say of themselves.
func versions(o Options, names []string) map[string]string {
	number := regexp.MustCompile(`\d+\.\d+\.\d+`)
	ask := map[string][]string{
		peers.Nginx:   {filepath.Join(o.Debian, "usr/sbin/nginx"), "-v"},
		peers.HAProxy: {filepath.Join(o.Debian, "usr/sbin/haproxy"), "-v"},
		peers.Envoy:   {filepath.Join(o.Envoy, "envoy"), "--version"},
	}
	out := map[string]string{}
	for _, name := range names {
		args := ask[name]
		if args == nil {
			continue // the commit says it
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(o.Debian, "usr/lib/x86_64-linux-gnu"))
		said, err := cmd.CombinedOutput()
		out[name] = number.FindString(string(said))
		if err != nil || out[name] == "" {
			out[name] = "of an unknown version"
		}
	}
	return out
}
