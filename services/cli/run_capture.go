package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/services/internal/sandbox"
)

// Ways for a program's traffic to come to its sidecar.
const (
	captureAuto        = "auto"
	captureTransparent = "transparent"
	captureExplicit    = "explicit"
)

// captureFlags are the flags of `weft run` about where the program is.
type captureFlags struct {
	mode    string
	network string
	publish string
	exclude []uint
	user    string
}

func (f *captureFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.mode, "capture", envOr("WEFT_CAPTURE", captureAuto),
		"transparent: the program's traffic is captured; explicit: it calls loopback addresses; auto: transparent with the privilege")
	flags.StringVar(&f.network, "capture-network", os.Getenv("WEFT_CAPTURE_NETWORK"), "network of captured programs, known on this host only (default 100.127.0.0/16)")
	flags.StringVar(&f.publish, "publish", "",
		"port of this host at which callers without a sidecar reach the program, if the mesh allows plaintext; none (default when captured: --port, if it is free)")
	flags.UintSliceVar(&f.exclude, "exclude-port", nil, "destination ports that are not captured: a hole in strict mode, for protocols that break behind a proxy")
	flags.StringVar(&f.user, "user", "", "user that the program runs as, by name or number; one that is not root cannot touch its sidecar")
}

func (f *captureFlags) complete() error {
	switch f.mode {
	case captureAuto, captureTransparent, captureExplicit:
	default:
		return fmt.Errorf("--capture %q: allowed are transparent, explicit and auto", f.mode)
	}
	if _, err := strconv.ParseUint(f.publish, 10, 16); err != nil && f.publish != "" && f.publish != "none" {
		return fmt.Errorf("--publish %q is neither a port nor none", f.publish)
	}
	if f.network == "" {
		return nil
	}
	p, err := netip.ParsePrefix(f.network)
	if err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 28 {
		return fmt.Errorf("--capture-network %q is not an IPv4 network of 8 to 28 bits, like 100.127.0.0/16", f.network)
	}
	return nil
}

// place is where a program runs: beside everything else, or in a sandbox whose traffic is captured.
type place struct {
	box        *sandbox.Sandbox // nil: explicit mode
	hosts      string
	credential *syscall.Credential
	publish    string
}

// sandboxes is how this host makes them.
func (o *options) sandboxes(network string) sandbox.Config {
	cfg := sandbox.Default(o.runDir)
	if p, err := netip.ParsePrefix(network); err == nil {
		cfg.IPv4 = p.Masked()
	}
	return cfg
}

// makePlace makes the program's namespaces and has them programmed, in transparent mode.
func (o *options) makePlace(f *runFlags, proxy string) (_ *place, err error) {
	p := &place{publish: f.capture.publish, hosts: filepath.Join(f.stateDir, "hosts")}
	if p.credential, err = credentialOf(f.capture.user); err != nil {
		return nil, err
	}
	unable := sandbox.Able()
	if f.capture.mode == captureExplicit || f.capture.mode == captureAuto && unable != nil {
		return p, nil
	}
	if unable != nil {
		return nil, fmt.Errorf("--capture=transparent needs root: %w; --capture=explicit needs no privilege", unable)
	}
	var scratch []string
	if f.temporary {
		scratch = append(scratch, f.stateDir)
	}
	if err := os.MkdirAll(f.stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	base, err := os.ReadFile("/etc/hosts")
	if err == nil {
		err = os.WriteFile(p.hosts, base, 0o644) //nolint:gosec // every program reads /etc/hosts
	}
	if err != nil {
		return nil, fmt.Errorf("names for the program: %w", err)
	}
	if p.box, err = sandbox.Make(o.sandboxes(f.capture.network), o.namespace+"/"+f.name, scratch...); err != nil {
		return nil, err
	}
	if err := p.program(proxy, f.capture.exclude); err != nil {
		return nil, errors.Join(err, p.box.Close())
	}
	return p, nil
}

// program has the kernel redirect the program's traffic.
func (p *place) program(proxy string, exclude []uint) error {
	args := []string{"capture"}
	for _, port := range exclude {
		args = append(args, "--exclude-outbound", strconv.FormatUint(uint64(port), 10))
	}
	cmd := exec.Command(proxy, args...)
	out, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("capture the program's traffic: %w", err)
	}
	if err := p.box.StartTool(cmd); err != nil {
		return fmt.Errorf("capture the program's traffic: %w", err)
	}
	said, _ := io.ReadAll(io.LimitReader(out, 4<<10))
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("capture the program's traffic: %w: %s", err, said)
	}
	return nil
}

// proxyArgs are the sidecar's flags about the place.
func (p *place) proxyArgs() []string {
	var args []string
	switch p.publish {
	case "":
	case "none":
		args = append(args, "--unpublished")
	default:
		args = append(args, "--inbound-port", p.publish)
	}
	if p.box == nil {
		return args
	}
	return append(args, "--transparent", "--namespace-fd", strconv.Itoa(firstExtra), "--hosts-file", p.hosts)
}

func (p *place) proxyFiles() []*os.File {
	if p.box == nil {
		return nil
	}
	return []*os.File{p.box.Namespace()}
}

// start starts the program there.
func (p *place) start(cmd *exec.Cmd) error {
	if p.credential != nil {
		cmd.SysProcAttr.Credential = p.credential
	}
	if p.box == nil {
		return startLocked(cmd)
	}
	return p.box.StartProgram(cmd, p.hosts)
}

// close may be called on a place that is only a place.
func (p *place) close(progress io.Writer) {
	if p.box == nil {
		return
	}
	if err := p.box.Close(); err != nil {
		fmt.Fprintf(progress, "weft: %v: `weft check --clean` removes the rest\n", err)
	}
}

// credentialOf finds a user; nil: whoever runs this.
func credentialOf(name string) (*syscall.Credential, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("--user %q is neither the name nor the number of a user of this machine", name)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("--user %q: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("--user %q: %w", name, err)
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("--user %q: groups: %w", name, err)
	}
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return c, nil
}
