package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// redis is the little of a redis client that the cart needs: INCR over a few kept connections.
type redis struct {
	addr string
	idle chan net.Conn
}

func newRedis(addr string) *redis { return &redis{addr: addr, idle: make(chan net.Conn, 8)} }

func (r *redis) incr(ctx context.Context, key string) (int64, error) {
	conn, err := r.take(ctx)
	if err != nil {
		return 0, err
	}
	n, err := incrOn(conn, key)
	if err != nil {
		conn.Close()
		return 0, err
	}
	select {
	case r.idle <- conn:
	default:
		conn.Close()
	}
	return n, nil
}

func (r *redis) take(ctx context.Context) (net.Conn, error) {
	select {
	case conn := <-r.idle:
		return conn, nil
	default:
		d := net.Dialer{Timeout: 2 * time.Second}
		return d.DialContext(ctx, "tcp", r.addr)
	}
}

func incrOn(conn net.Conn, key string) (int64, error) {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n", len(key), key); err != nil {
		return 0, err
	}
	line, err := bufio.NewReaderSize(conn, 64).ReadString('\n')
	if err != nil {
		return 0, err
	}
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, ":") {
		return 0, fmt.Errorf("redis answered %q", line)
	}
	return strconv.ParseInt(line[1:], 10, 64)
}

// store stands in for redis on machines without one: it understands INCR in the same protocol.
func store(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("store", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:6379", "address to listen on")
	if err := fs.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() {
		<-ctx.Done()
		l.Close()
	}()
	counts := &counters{n: map[string]int64{}}
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go counts.serve(conn)
	}
}

type counters struct {
	mu sync.Mutex
	n  map[string]int64
}

func (c *counters) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		words, err := command(in)
		if err != nil {
			return
		}
		if len(words) != 2 || !strings.EqualFold(words[0], "INCR") {
			fmt.Fprint(conn, "-ERR unknown command\r\n")
			continue
		}
		c.mu.Lock()
		c.n[words[1]]++
		n := c.n[words[1]]
		c.mu.Unlock()
		fmt.Fprintf(conn, ":%d\r\n", n)
	}
}

// command reads one array of bulk strings.
func command(in *bufio.Reader) ([]string, error) {
	n, err := number(in, '*')
	if err != nil || n > 16 {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	words := make([]string, n)
	for i := range words {
		size, err := number(in, '$')
		if err != nil || size > 1<<16 {
			return nil, errors.Join(err, io.ErrUnexpectedEOF)
		}
		raw := make([]byte, size+2)
		if _, err := io.ReadFull(in, raw); err != nil {
			return nil, err
		}
		words[i] = string(raw[:size])
	}
	return words, nil
}

func number(in *bufio.Reader, mark byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	line = strings.TrimSpace(line)
	if len(line) < 2 || line[0] != mark {
		return 0, fmt.Errorf("protocol error in %q", line)
	}
	return strconv.Atoi(line[1:])
}
