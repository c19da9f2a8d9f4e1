package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Family is a process with everything that it has started, and they. The children file of a process lists only those of its main thread, so every
// thread is asked.
func Family(pid int) []int {
	out := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(data)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				out = append(out, Family(child)...)
			}
		}
	}
	return out
}
