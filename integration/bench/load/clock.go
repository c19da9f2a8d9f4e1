package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// clockProcess is the kind of a process's clock that counts the time for which its threads ran, in nanoseconds.
const clockProcess = 2

// CPU is how many nanoseconds of CPU time the process has used so far, of its own clock: the ticks of /proc are far too coarse.
func CPU(pid int) (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|clockProcess), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return ts.Nano(), nil
}

func clocks(pids []int) ([]int64, error) {
	out := make([]int64, len(pids))
	for i, pid := range pids {
		var err error
		if out[i], err = CPU(pid); err != nil {
			return nil, err
		}
	}
	return out, nil
}
