package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
)

// Capture is a running tcpdump on the bridge: it sees all that hosts send to each other.
type Capture struct {
	process   *harness.Process
	file, log string
}

// Capture starts tcpdump and returns once it listens.
func (n *Network) Capture(ctx context.Context, name string) (*Capture, error) {
	c := &Capture{file: filepath.Join(n.opts.Dir, name+".pcap"), log: filepath.Join(n.opts.Dir, name+".log")}
	tcpdump := "tcpdump"
	env := os.Environ()
	if d := n.opts.Debian; d != "" {
		tcpdump = filepath.Join(d, "usr/bin/tcpdump")
		env = append(env, "LD_LIBRARY_PATH="+filepath.Join(d, "usr/lib/x86_64-linux-gnu"))
	}
	p, err := harness.Command{Name: "tcpdump", Log: c.log, Env: env, Args: []string{
		"nsenter", "--net=/run/netns/" + n.bridge(), "--", tcpdump, "-i", bridge, "-s", "0", "-B", "32768", "-U", "-Z", "root", "-w", c.file,
	}}.Start()
	if err != nil {
		return nil, err
	}
	c.process = p
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = harness.Eventually(ctx, func() error {
		text, err := os.ReadFile(c.log)
		switch {
		case err != nil:
			return err
		case p.Ended():
			return harness.Fatal{Err: fmt.Errorf("tcpdump has ended: %s", text)}
		case !strings.Contains(string(text), "listening on"):
			return errors.New("tcpdump does not listen yet")
		}
		return nil
	})
	if err != nil {
		p.End()
		return nil, err
	}
	return c, nil
}

// Await waits until the capture has some text, sent in the clear after everything that is of interest: packets wait in the
// kernel for a while, and tcpdump does not read those that wait when it ends.
func (c *Capture) Await(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return harness.Eventually(ctx, func() error {
		raw, err := os.ReadFile(c.file)
		if err == nil && !bytes.Contains(raw, []byte(text)) {
			err = fmt.Errorf("the capture has not seen %q", text)
		}
		return err
	})
}

// Has says whether some text is anywhere in the capture, in packets of any kind.
func (c *Capture) Has(text string) (bool, error) {
	raw, err := os.ReadFile(c.file)
	return bytes.Contains(raw, []byte(text)), err
}

// Stop ends tcpdump and returns the TCP streams that it saw, whole; that it missed something is an error.
func (c *Capture) Stop() ([]Stream, error) {
	c.process.Signal(syscall.SIGINT)
	if !c.process.Wait(20 * time.Second) {
		return nil, errors.New("tcpdump does not end")
	}
	text, err := os.ReadFile(c.log)
	if err != nil {
		return nil, err
	}
	if m := regexp.MustCompile(`(\d+) packets? dropped by kernel`).FindSubmatch(text); m == nil || string(m[1]) != "0" {
		return nil, fmt.Errorf("the capture is not whole: %s", text)
	}
	raw, err := os.ReadFile(c.file)
	if err != nil {
		return nil, err
	}
	return streams(raw)
}
