package sandbox

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// taken are the capabilities by which a program could go round its capture: change the rules, mark or forge packets, go to another
// namespace, look into the sidecar.
func taken() []uintptr {
	return []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN, unix.CAP_SYS_MODULE, unix.CAP_SYS_PTRACE, unix.CAP_BPF}
}

// StartProgram starts the program: in the network namespace, with hosts in the place of /etc/hosts, and without the capabilities
// by which it could leave. Its parent-death signal works as long as this process lives.
func (s *Sandbox) StartProgram(cmd *exec.Cmd, hosts string) error {
	return s.start(cmd, func() error {
		if err := ownMounts(hosts); err != nil {
			return err
		}
		for _, c := range taken() {
			// A kernel that does not know a capability cannot give it to anybody either.
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL { //nolint:errorlint // an errno
				return fmt.Errorf("drop capability %d: %w", c, err)
			}
		}
		return nil
	})
}

// StartTool starts a program of Weft's in the network namespace, with all that this process may do.
func (s *Sandbox) StartTool(cmd *exec.Cmd) error { return s.start(cmd, func() error { return nil }) }

// start starts a process from a thread that has been prepared. The thread stays until this process ends: a parent-death signal
// comes when the thread that started the child ends.
func (s *Sandbox) start(cmd *exec.Cmd, prepare func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET)
		if err != nil {
			err = fmt.Errorf("enter the program's network namespace: %w", err)
		} else if err = prepare(); err == nil {
			err = cmd.Start()
		}
		result <- err
		if err == nil && cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0 {
			select {}
		}
	}()
	return <-result
}

// ownMounts gives the calling thread a mount namespace with another /etc/hosts.
func ownMounts(hosts string) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount(hosts, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("put %s in the place of /etc/hosts: %w", hosts, err)
	}
	return nil
}
