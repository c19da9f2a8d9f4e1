package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	// workers of a load that has several connections or streams.
	workers = 4
	// between is the pause between two words on a connection that lasts.
	between = 5 * time.Millisecond
	// every is how often a load says what it has counted.
	every = 200 * time.Millisecond
)

// count is what a load has seen.
type count struct {
	mu     sync.Mutex
	OK     int    `json:"ok"`
	Failed int    `json:"failed"`
	First  string `json:"first,omitempty"` // failure
}

func (c *count) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.OK++
		return
	}
	if c.Failed++; c.First == "" {
		c.First = err.Error()
	}
}

func (c *count) print() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(c)
}

// hold makes a load of a function that keeps what it opens and returns when ctx ends, or when it has nothing left.
func hold(work func(ctx context.Context, address, text string, c *count)) func(address, text string) (string, error) {
	return func(address, text string) (string, error) {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		c := &count{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			work(ctx, address, text, c)
		}()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.print()
			case <-ctx.Done():
				<-done
				c.print()
				return "that was all", nil
			}
		}
	}
}

// each calls f on several workers until ctx ends. What the end interrupts is not counted.
func each(ctx context.Context, c *count, f func(ctx context.Context) error) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				limit, cancel := context.WithTimeout(ctx, patience)
				err := f(limit)
				cancel()
				if ctx.Err() == nil {
					c.add(err)
				}
			}
		})
	}
	wg.Wait()
}

// holdHTTP keeps its connections. Its requests cannot be sent again behind its back.
func holdHTTP(ctx context.Context, address, text string, c *count) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	each(ctx, c, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/", io.NopCloser(strings.NewReader(text)))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", resp.Status, resp.Header.Get("weft-error"))
		}
		return nil
	})
}

// holdGRPC makes one call after the other.
func holdGRPC(ctx context.Context, address, text string, c *count) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		c.add(err)
		return
	}
	defer conn.Close()
	each(ctx, c, func(ctx context.Context) error {
		return conn.Invoke(ctx, echoMethod, wrapperspb.String(text), &wrapperspb.StringValue{})
	})
}

// holdStream talks on one stream of gRPC.
func holdStream(ctx context.Context, address, text string, c *count) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		c.add(err)
		return
	}
	defer conn.Close()
	st, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, talkMethod)
	if err != nil {
		c.add(err)
		return
	}
	talk(ctx, c, func() error {
		if err := st.SendMsg(wrapperspb.String(text)); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return st.RecvMsg(&wrapperspb.StringValue{})
	})
}

// holdTCP talks on one connection.
func holdTCP(ctx context.Context, address, text string, c *count) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		c.add(err)
		return
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	if _, err := lines.ReadString('\n'); err != nil {
		c.add(err)
		return
	}
	talk(ctx, c, func() error {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(conn, text); err != nil {
			return err
		}
		_, err := lines.ReadString('\n')
		return err
	})
}

// talk says one word after the other until ctx ends, or one is not answered.
func talk(ctx context.Context, c *count, word func() error) {
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := word()
		if ctx.Err() != nil {
			return
		}
		if c.add(err); err != nil {
			return
		}
	}
}

// holdUDP sends from one socket. A datagram that is not answered in a second is lost, which is a failure here.
func holdUDP(ctx context.Context, address, text string, c *count) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		c.add(err)
		return
	}
	defer conn.Close()
	b := make([]byte, maxDatagram)
	for n := 0; ctx.Err() == nil; n++ {
		c.add(func() error {
			if _, err := fmt.Fprintf(conn, "%s %d", text, n); err != nil {
				return err
			}
			if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			_, err := conn.Read(b)
			return err
		}())
		time.Sleep(between)
	}
}
