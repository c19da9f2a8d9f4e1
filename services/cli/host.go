package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/atomicfile"
)

// Files that `weft join` writes into the data directory, beside bundle.pem.
const (
	hostFile      = "host.json"
	hostTokenFile = "host.token"
)

// hostRecord is what a joined host knows of itself and its control plane. The credential lies in a file of its own.
type hostRecord struct {
	Host        string    `json:"host"`
	TrustDomain string    `json:"trustDomain"`
	Gateway     []string  `json:"gateway"`
	Namespaces  []string  `json:"namespaces"`
	Accounts    []string  `json:"accounts,omitempty"`
	Credential  string    `json:"credential"` // id, not secret
	Joined      time.Time `json:"joined"`
}

// readHost returns nil when this data directory belongs to no joined host.
func readHost(dataDir string) (*hostRecord, error) {
	path := filepath.Join(dataDir, hostFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("what this host has joined: %w", err)
	}
	h := &hostRecord{}
	if err := json.Unmarshal(data, h); err != nil {
		return nil, fmt.Errorf("what this host has joined, in %s: %w", path, err)
	}
	return h, nil
}

func (h *hostRecord) write(dataDir string) error {
	data, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", hostFile, err)
	}
	return atomicfile.Write(filepath.Join(dataDir, hostFile), append(data, '\n'), 0o600)
}

// scope says what the host may do, for people.
func (h *hostRecord) scope() string {
	accounts := "any account"
	if len(h.Accounts) > 0 {
		accounts = "the accounts " + strings.Join(h.Accounts, ", ")
	}
	return "workloads with " + accounts + " in " + strings.Join(h.Namespaces, ", ")
}

// useHost takes the gateway's address from what `weft join` stored, unless the user says where it is.
func (o *options) useHost(cmd *cobra.Command) error {
	if cmd.Flags().Changed("gateway") || os.Getenv("WEFT_GATEWAY") != "" {
		return nil
	}
	h, err := readHost(o.dataDir)
	switch {
	case errors.Is(err, fs.ErrPermission): // somebody else's; their own credentials say whether they may call
		return nil
	case err != nil:
		return usageError{err}
	case h != nil && len(h.Gateway) > 0:
		o.gateway = strings.Join(h.Gateway, ",")
	}
	return nil
}

// gatewaysAt makes --control-plane, HOST[:PORT] of one or more, comma-separated, into addresses of gateways.
func gatewaysAt(text string) (string, error) {
	port := strconv.Itoa(app.Default().Listen.Gateway)
	var out []string
	for one := range strings.SplitSeq(text, ",") {
		host, p, err := net.SplitHostPort(one)
		if err != nil {
			host, p = strings.TrimSuffix(strings.TrimPrefix(one, "["), "]"), port
			if net.ParseIP(host) == nil && strings.Contains(host, ":") {
				return "", fmt.Errorf("--control-plane %q is not HOST or HOST:PORT", one)
			}
		}
		if n, err := strconv.ParseUint(p, 10, 16); host == "" || err != nil || n == 0 {
			return "", fmt.Errorf("--control-plane %q is not HOST or HOST:PORT", one)
		}
		out = append(out, net.JoinHostPort(host, p))
	}
	return strings.Join(out, ","), nil
}
