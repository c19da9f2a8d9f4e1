package loop

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Handler is told that its descriptor can be read or written, or has failed. It may be told in vain, and must not block.
type Handler interface {
	Ready(events uint32) error
}

// Loop waits for many descriptors. One goroutine only.
type Loop struct {
	epoll    int
	handlers []Handler // by descriptor
	events   [256]unix.EpollEvent
}

// New makes a loop; Close ends it.
func New() (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &Loop{epoll: fd}, nil
}

// Close gives up the loop, not the descriptors in it.
func (l *Loop) Close() { unix.Close(l.epoll) }

// Add watches a descriptor for what can be read.
func (l *Loop) Add(fd int, h Handler) error {
	for fd >= len(l.handlers) {
		l.handlers = append(l.handlers, nil)
	}
	l.handlers[fd] = h
	return l.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

// Watch says what else a descriptor is watched for: room to write.
func (l *Loop) Watch(fd int, writable bool) error {
	events := uint32(unix.EPOLLIN)
	if writable {
		events |= unix.EPOLLOUT
	}
	return l.control(unix.EPOLL_CTL_MOD, fd, events)
}

// Drop closes a descriptor and forgets its handler.
func (l *Loop) Drop(fd int) {
	l.handlers[fd] = nil
	unix.Close(fd)
}

func (l *Loop) control(op, fd int, events uint32) error {
	if err := unix.EpollCtl(l.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Turn waits once, for so many milliseconds at most (-1: for ever), and tells the handlers. The first error of one ends it.
func (l *Loop) Turn(milliseconds int) error {
	n, err := unix.EpollWait(l.epoll, l.events[:], milliseconds)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	for i := range n {
		e := &l.events[i]
		if h := l.handlers[e.Fd]; h != nil {
			if err := h.Ready(e.Events); err != nil {
				return err
			}
		}
	}
	return nil
}
