package harness

import (
	"fmt"
	"os"
	"strings"
)

// UnitHost is what systemd would put into a unit's command line on some machine.
type UnitHost struct {
	// Bin stands for /usr/bin.
	Bin string
	// State, Run and Credentials are %S, %t and %d.
	State, Run, Credentials string
	// Instance is %i.
	Instance string
	// Env are the variables of its environment files, NAME=VALUE.
	Env []string
}

// Command is the command line of the unit in a file, as systemd would start it: specifiers and variables are replaced, and a
// variable that is a word of its own is split at spaces.
func (h UnitHost) Command(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart=")
		if !ok {
			continue
		}
		var out []string
		for word := range strings.FieldsSeq(text) {
			if name, ok := strings.CutPrefix(word, "$"); ok {
				out = append(out, strings.Fields(h.variable(name))...)
				continue
			}
			word = strings.NewReplacer("%S", h.State, "%t", h.Run, "%d", h.Credentials, "%i", h.Instance).Replace(word)
			out = append(out, strings.Replace(word, "/usr/bin", h.Bin, 1))
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s has no ExecStart", file)
}

func (h UnitHost) variable(name string) string {
	for _, kv := range h.Env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// EnvFile reads an environment file as systemd does; commented is whether settings behind a # count too, as in examples.
func EnvFile(file string, commented bool) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if commented {
			line = strings.TrimPrefix(line, "#")
		}
		if name, _, ok := strings.Cut(line, "="); ok && name != "" && !strings.ContainsAny(name, " #") {
			out = append(out, line)
		}
	}
	return out, nil
}
