//go:build linux && !race && !plainio

package wire

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize is how much one splice moves at most.
const pipeSize = 256 << 10

// pipe is what the kernel moves bytes through. A pipe that is given back is empty.
type pipe struct {
	r, w int
}

// pipes keeps those that are not in use; the collector closes what it takes from it.
var pipes = sync.Pool{New: func() any {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return (*pipe)(nil)
	}
	p := &pipe{r: fds[0], w: fds[1]}
	_, _ = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize) // where that is more than a user may have, it stays smaller
	runtime.SetFinalizer(p, (*pipe).close)
	return p
}}

func (p *pipe) close() {
	runtime.SetFinalizer(p, nil)
	unix.Close(p.r)
	unix.Close(p.w)
}

// CanSplice says whether Splice works between two connections, of which nothing is buffered.
func CanSplice(dst, src *Conn) bool { return dst.raw != nil && src.raw != nil && src.buf == nil }

// Splice waits for bytes of src and moves them to dst without taking them into this process's memory: what has arrived, at most
// a quarter of a megabyte. It returns how many it moved, and which side failed; at the end of src, that is io.EOF of src.
func Splice(dst, src *Conn) (n int, dstErr, srcErr error) {
	var p *pipe
	var errno error
	err := src.raw.Read(func(fd uintptr) bool {
		if p == nil {
			if p, _ = pipes.Get().(*pipe); p == nil {
				errno = ErrNoPipe
				return true
			}
		}
		n, errno = move(p.w, int(fd))
		if errors.Is(errno, syscall.EAGAIN) {
			pipes.Put(p)
			p = nil
			return false
		}
		return true
	})
	switch {
	case err != nil:
		return 0, nil, err
	case errors.Is(errno, ErrNoPipe):
		return 0, nil, errno
	case errno != nil || n == 0:
		pipes.Put(p)
		if errno == nil {
			errno = io.EOF
		}
		return 0, nil, errno
	}
	left := n
	err = dst.raw.Write(func(fd uintptr) bool {
		for left > 0 {
			var moved int
			if moved, errno = move(int(fd), p.r); errno != nil {
				return !errors.Is(errno, syscall.EAGAIN)
			}
			left -= moved
		}
		return true
	})
	if err == nil && left > 0 {
		err = errno
	}
	if err != nil {
		p.close() // with what nobody will read
		return n - left, err, nil
	}
	pipes.Put(p)
	return n, nil, nil
}

func move(to, from int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, pipeSize, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if !errors.Is(err, syscall.EINTR) {
			return int(n), err
		}
	}
}
