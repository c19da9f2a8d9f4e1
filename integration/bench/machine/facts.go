package machine

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Facts are what a number means little without.
type Facts struct {
	Date       time.Time `json:"date"`
	Commit     string    `json:"commit"`
	Go         string    `json:"go"`
	Kernel     string    `json:"kernel"`
	CPU        string    `json:"cpu"`
	Cores      int       `json:"cores"`
	LoadBefore string    `json:"load_before"`
	Seconds    float64   `json:"seconds"`
}

// Look asks the machine.
func Look() Facts {
	return Facts{
		Date: time.Now().UTC().Truncate(time.Second), Commit: Output("git", "describe", "--tags", "--always", "--dirty"), Go: runtime.Version(),
		Kernel: Output("uname", "-r"), CPU: processor(), Cores: runtime.NumCPU(), LoadBefore: File("/proc/loadavg"),
	}
}

// Output is what a command writes, without the end of its line, or "unknown".
func Output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// File is what a file holds, without the end of its line, or "unknown".
func File(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}

func processor() string {
	for text := range strings.Lines(File("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(text, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
