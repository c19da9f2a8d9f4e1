package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// KillFamily ends a process with everything that it has started, as a machine that loses power does: all are stopped first, so
// that none sees another die and says goodbye to anybody.
func KillFamily(pid int) {
	all := Family(pid)
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, member := range all {
			_ = syscall.Kill(member, sig) // one that has gone already is what we want
		}
	}
}

// KillChild kills the process of a name that another one has started, and returns its number; 0: there is none.
func KillChild(pid int, name string) int {
	for _, member := range Family(pid) {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", member))
		if err == nil && strings.TrimSpace(string(comm)) == name && syscall.Kill(member, syscall.SIGKILL) == nil {
			return member
		}
	}
	return 0
}
