package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/integration/harness"
)

// units are the files of the systemd units, by path.
func units(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../deployments/systemd/*.service")
	if err != nil || len(files) != 8 {
		t.Fatalf("%d units (%v), want 8", len(files), err)
	}
	return files
}

// binaries is where the built programs are.
func binaries(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("WEFT_BIN")
	if bin == "" {
		t.Fatal("WEFT_BIN is not set: run `make scripts`")
	}
	return bin
}

// systemd itself reads the units and finds nothing wrong.
func TestUnitsAreWhatSystemdUnderstands(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("NOT RUN: systemd-analyze (Debian's package systemd) is not there: the units are not verified")
	}
	if err != nil {
		t.Fatal("systemd-analyze is missing, and in CI nothing may be left out")
	}
	bin, dir := binaries(t), t.TempDir()
	args := []string{"verify"}
	for _, file := range units(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Replace(filepath.Base(file), "@.", "@reviews.", 1)
		installed := filepath.Join(dir, name) // verify wants the program to be there
		if err := os.WriteFile(installed, []byte(strings.Replace(string(text), "=/usr/bin/", "="+bin+"/", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, installed)
	}
	out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	broken := filepath.Join(dir, "broken.service")
	if err := os.WriteFile(broken, []byte("[Service]\nExecStart="+bin+"/weft up\nDynamicUsr=yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.CommandContext(t.Context(), analyze, "verify", broken).CombinedOutput(); !strings.Contains(string(out), "DynamicUsr") {
		t.Errorf("systemd-analyze does not see a mistake: %s", out)
	}
}

// The programs understand the command lines and environment files of their units, with every setting of the examples.
func TestUnitsAreWhatTheProgramsUnderstand(t *testing.T) {
	bin := binaries(t)
	for _, file := range units(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			example, accepted := "control-plane.env", "configuration is valid\n"
			if strings.Contains(file, "@") {
				example = "reviews.env"
			}
			env, err := harness.EnvFile(filepath.Join(filepath.Dir(file), example), true)
			if err != nil || len(env) < 2 {
				t.Fatalf("%s: %q (%v)", example, env, err)
			}
			host := harness.UnitHost{Bin: bin, State: "/var/lib", Run: "/run", Credentials: t.TempDir(), Instance: "reviews", Env: env}
			command, err := host.Command(file)
			if err != nil {
				t.Fatal(err)
			}
			check := func(more ...string) (string, int) {
				args := slices.Clone(command)
				at := len(args)
				if i := slices.Index(args, "--"); i > 0 {
					at = i
				}
				args = slices.Insert(args, at, append(more, "--check-config")...)
				cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
				cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
				out, _ := cmd.CombinedOutput() // the code says it all
				return string(out), cmd.ProcessState.ExitCode()
			}
			if out, code := check(); code != 0 || out != accepted {
				t.Errorf("%q: exit code %d: %s", command, code, out)
			}
			if out, code := check("--no-such-flag"); code != 2 {
				t.Errorf("a flag that does not exist: exit code %d: %s", code, out)
			}
		})
	}
}
