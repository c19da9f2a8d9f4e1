package harness

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// Ports hands out ports that nobody uses, each once. They lie below the range from which the kernel takes the ports of
// outgoing connections, so that none is taken between being handed out and being listened on.
type Ports struct {
	mu   sync.Mutex
	next int
}

const (
	firstPort = 11000
	lastPort  = 31900
	// healthOffset is how far a service's health port is from its own.
	healthOffset = 100
)

// NewPorts starts at a place that differs from process to process, so that test binaries that run side by side seldom meet.
func NewPorts() *Ports {
	return &Ports{next: firstPort + os.Getpid()*131%(lastPort-firstPort)}
}

// Port returns a port that is free.
func (p *Ports) Port() (int, error) {
	return p.find(func(port int) bool { return free(port) })
}

// Service returns a port that is free together with the health port that belongs to it.
func (p *Ports) Service() (int, error) {
	return p.find(func(port int) bool { return free(port) && free(port+healthOffset) })
}

func (p *Ports) find(fits func(int) bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range lastPort - firstPort {
		p.next++
		// Skip every other block of 100, which holds the health ports of the block before it.
		if p.next/healthOffset%2 == 1 {
			p.next += healthOffset - p.next%healthOffset
		}
		if p.next >= lastPort {
			p.next = firstPort
		}
		if fits(p.next) {
			return p.next, nil
		}
	}
	return 0, errors.New("no free port")
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
