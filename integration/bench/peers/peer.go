package peers

import (
	"bytes"
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/load"
	"github.com/weft-mesh/weft/integration/harness"
)

//go:embed conf
var conf embed.FS

// Half is one proxy, as its settings need it.
type Half struct {
	// Dir is for what it writes.
	Dir string
	// At is where it listens, To where it goes on to.
	At, To app.Addresses
	// Accept: mTLS is what it listens for. Connect: mTLS is what it goes on with.
	Accept, Connect bool
	// Files are the certificates.
	Files Files
	// Debian is where nginx's modules are below. Root: it is started by root.
	Debian string
	Root   bool
}

// peer starts both halves of a peer, or one alone.
func (p Place) peer(c *Contender) error {
	front, err := p.Addresses()
	if err != nil {
		return err
	}
	c.Entry = map[string]netip.AddrPort{HTTP: front.HTTP, GRPC: front.GRPC, TCP: front.TCP}
	to := p.App
	if !p.Single {
		if to, err = p.Addresses(); err != nil {
			return err
		}
		back, err := p.half(c, "inbound", Half{At: to, To: p.App, Accept: true})
		if err != nil {
			return err
		}
		for _, protocol := range Protocols() {
			c.back[protocol] = back
		}
		c.Inner = to.HTTP
		c.TLS = &load.TLS{Cert: p.Files.Client, Key: p.Files.ClientKey, CA: p.Files.CA, ServerName: "inner"}
	}
	c.front, err = p.half(c, "outbound", Half{At: front, To: to, Connect: !p.Single})
	return err
}

// half writes the settings of one proxy and starts it.
func (p Place) half(c *Contender, name string, h Half) (*harness.Process, error) {
	h.Dir = filepath.Join(p.Dir, name)
	h.Files, h.Debian, h.Root = p.Files, p.Debian, os.Geteuid() == 0
	if err := os.MkdirAll(h.Dir, 0o700); err != nil {
		return nil, err
	}
	libraries := []string{"LD_LIBRARY_PATH=" + filepath.Join(p.Debian, "usr/lib/x86_64-linux-gnu")}
	switch c.Name {
	case Nginx:
		file, err := h.settings("nginx.conf")
		if err != nil {
			return nil, err
		}
		return p.run(c, name, libraries, filepath.Join(p.Debian, "usr/sbin/nginx"), "-p", h.Dir, "-c", file, "-e", filepath.Join(h.Dir, "error.log"))
	case HAProxy:
		file, err := h.settings("haproxy.cfg")
		if err != nil {
			return nil, err
		}
		return p.run(c, name, libraries, filepath.Join(p.Debian, "usr/sbin/haproxy"), "-db", "-f", file)
	case Envoy:
		file, err := h.settings("envoy.yaml")
		if err != nil {
			return nil, err
		}
		return p.run(c, name, nil, filepath.Join(p.Envoy, "envoy"), "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
	}
	file, err := h.save()
	if err != nil {
		return nil, err
	}
	return p.run(c, name, nil, p.Self, "-role", "reverse-proxy", "-role-config", file)
}

func (h Half) settings(name string) (string, error) {
	t, err := template.ParseFS(conf, "conf/"+name+".tmpl")
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, h); err != nil {
		return "", fmt.Errorf("settings: %w", err)
	}
	file := filepath.Join(h.Dir, name)
	return file, write(file, b.Bytes())
}
