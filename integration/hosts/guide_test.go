package hosts

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// step is one command of a guide, on the host that its text names last.
type step struct{ host, command string }

// steps reads the commands of a guide: indented lines, on the host in the last "On *a*" before them.
func steps(t *testing.T, file string) []step {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []step
	var host string
	on := regexp.MustCompile(`On \*(\w)\*`)
	for line := range strings.Lines(string(data)) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			out = append(out, step{host, strings.TrimSpace(command)})
		} else if all := on.FindAllStringSubmatch(line, -1); len(all) > 0 {
			host = all[len(all)-1][1]
		}
	}
	return out
}

// The commands of the guide do what it says, as they are written there.
func TestGuideSeveralMachines(t *testing.T) {
	r := newRig(t, 3, false)
	all := steps(t, "../../docs/guides/several-machines.md")
	if len(all) != 12 {
		t.Fatalf("%d commands in the guide, want 12: %v", len(all), all)
	}
	shared := t.TempDir() // files of tokens go from host to host
	for i, s := range all {
		h := r.hosts[s.host[0]-'a']
		shell := []string{"sh", "-c", "cd " + shared + " && exec " + s.command}
		background := map[string]func(){
			"weft up": func() {
				r.eventually("the control plane is ready", func() error {
					_, err := h.Curl(t.Context(), "http://127.0.0.1:9801/readyz")
					if err == nil {
						_, err = h.Curl(t.Context(), "http://127.0.0.1:9812/readyz")
					}
					return err
				})
			},
			"weft run -n shop --service": func() { r.shows("shop/hello +10.77.0.2:8080 .*ready", "services", "-n", "shop") },
		}
		started := false
		for prefix, ready := range background {
			if strings.HasPrefix(s.command, prefix) {
				_, err := h.Start("guide-"+s.host, shell...)
				r.must(err)
				ready()
				started = true
			}
		}
		if started {
			continue
		}
		out, code, err := h.Output(t.Context(), shell...)
		r.must(err)
		if code != 0 {
			t.Fatalf("command %d, on %s: %s: exit code %d\n%s", i, s.host, s.command, code, out)
		}
		if strings.Contains(s.command, "curl") && !strings.Contains(out, "Directory listing") {
			t.Errorf("%s answered\n%s", s.command, out)
		}
		if s.command == "weft top -n shop" {
			r.shows("shop/web +shop/hello +http", "top", "-n", "shop", "--cumulative")
		}
	}
}
