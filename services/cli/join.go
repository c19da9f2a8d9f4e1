package cli

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/atomicfile"
)

func joinCommand(o *options) *cobra.Command {
	var controlPlane string
	cmd := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Prepare this machine for workloads of a control plane on another one",
		Long: `Redeem a token of "weft token host" for what "weft run" needs on this machine: the trust bundle, verified by the hashes in
the token, the gateway's addresses, and a credential that starts workloads of the accounts that the token names. All of it
goes into the data directory. "-" reads the token from standard input.

Joining again with the same token changes nothing; with another one it replaces what was there and gives the old credential
back.`,
		Example: "  weft join host-weft1.eyJ0ZCI6…\n  weft join - < token",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := args[0]
			if text == "-" {
				raw, err := io.ReadAll(io.LimitReader(o.streams.In, 1<<20))
				if err != nil {
					return fmt.Errorf("read token: %w", err)
				}
				text = string(raw)
			}
			token, err := jointoken.DecodeHost(text)
			if err != nil {
				return codeError{exitInvalid, err}
			}
			if controlPlane != "" {
				if controlPlane, err = gatewaysAt(controlPlane); err != nil {
					return usageError{err}
				}
			}
			return o.join(cmd.Context(), strings.TrimSpace(text), token, controlPlane)
		},
	}
	cmd.Flags().StringVar(&controlPlane, "control-plane", "", "HOST[:PORT] of the gateway, when this machine reaches it elsewhere than it advertises")
	return cmd
}

// join redeems the token unless it has been, writes what it is worth, and looks whether it works.
func (o *options) join(ctx context.Context, text string, token jointoken.Token, controlPlane string) error {
	old, err := o.hostBefore()
	if err != nil {
		return err
	}
	if old != nil && old.Credential == token.ID {
		fmt.Fprintf(o.streams.Out, "host %s has joined with this token already, on %s\n", old.Host, old.Joined.Local().Format(time.DateTime))
		return o.tryHost(ctx, old)
	}
	oldToken, _ := os.ReadFile(filepath.Join(o.dataDir, hostTokenFile)) // there is none on a new host
	resp, err := o.redeem(ctx, text, token)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	h := &hostRecord{
		Host: resp.GetScope().GetHost(), TrustDomain: resp.GetTrustDomain(), Gateway: resp.GetGatewayAddresses(),
		Namespaces: resp.GetScope().GetNamespaces(), Accounts: resp.GetScope().GetAccounts(), Credential: resp.GetCredentialId(), Joined: time.Now().UTC(),
	}
	if controlPlane != "" {
		h.Gateway = strings.Split(controlPlane, ",")
	}
	if err := o.keepHost(h, resp); err != nil {
		return fmt.Errorf("join: the token is used up, but what it was worth cannot be kept: %w: ask for a new token", err)
	}
	fmt.Fprintf(o.streams.Out, "host %s has joined %s: it may start %s\nwritten to %s: %s, %s, %s\n",
		h.Host, h.TrustDomain, h.scope(), o.dataDir, app.BundleFile, hostTokenFile, hostFile)
	if old != nil {
		o.giveBack(ctx, old, strings.TrimSpace(string(oldToken)))
	}
	return o.tryHost(ctx, h)
}

// hostBefore makes the data directory and returns what this host has joined before, nil for nothing. What cannot be written
// to is found before the token is used up.
func (o *options) hostBefore() (*hostRecord, error) {
	if _, err := os.Stat(filepath.Join(o.dataDir, "admin.token")); err == nil {
		return nil, usageError{fmt.Errorf("%s is the data directory of a control plane, whose machine need not join; give another --data-dir", o.dataDir)}
	}
	if err := os.MkdirAll(o.dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	probe := filepath.Join(o.dataDir, ".join")
	if err := errors.Join(atomicfile.Write(probe, nil, 0o600), os.Remove(probe)); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return readHost(o.dataDir)
}

// redeem asks the identity service, which must prove itself by an authority that the token names.
func (o *options) redeem(ctx context.Context, text string, token jointoken.Token) (*identitypb.JoinHostResponse, error) {
	td, err := spiffeid.TrustDomainFromString(token.TrustDomain)
	if err != nil {
		return nil, err
	}
	cfg, err := jointoken.TLS(token, td, app.Identity)
	if err != nil {
		return nil, err
	}
	r := manual.NewBuilderWithScheme("identity")
	var state resolver.State
	for _, address := range token.Addresses.Identity {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	r.InitialState(state)
	conn, err := grpc.NewClient("identity:///"+app.Identity, grpc.WithResolvers(r), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		return nil, fmt.Errorf("identity service %q: %w", token.Addresses.Identity, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	resp, err := identitypb.NewIdentityServiceClient(conn).JoinHost(ctx, &identitypb.JoinHostRequest{Token: text})
	if err != nil {
		return nil, fmt.Errorf("identity service %s: %w", strings.Join(token.Addresses.Identity, ", "), err)
	}
	roots, err := spiffe.Certificates(resp.GetX509Authorities())
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	if !slices.ContainsFunc(roots, token.Trusts) {
		return nil, errors.New("the trust bundle has none of the authorities that the token names")
	}
	return resp, nil
}

// keepHost writes the record last: with it the host has joined.
func (o *options) keepHost(h *hostRecord, resp *identitypb.JoinHostResponse) error {
	err := atomicfile.Write(filepath.Join(o.dataDir, app.BundleFile), bundlePEM(resp.GetX509Authorities()), 0o644) // certificates are public
	if err == nil {
		err = atomicfile.Write(filepath.Join(o.dataDir, hostTokenFile), []byte(resp.GetSecret()+"\n"), 0o600)
	}
	if err == nil {
		err = h.write(o.dataDir)
	}
	return err
}

func bundlePEM(authorities [][]byte) []byte {
	var out []byte
	for _, der := range authorities {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// tryHost asks the gateway with what this host has, so that what does not work is known now.
func (o *options) tryHost(ctx context.Context, h *hostRecord) error {
	host := *o
	host.gateway, host.tokenFile, host.caFile = strings.Join(h.Gateway, ","), filepath.Join(o.dataDir, hostTokenFile), ""
	err := host.call(ctx, func(ctx context.Context, c *client) error {
		resp, err := c.admin.GetStatus(ctx, &adminpb.GetStatusRequest{})
		if err != nil {
			return err
		}
		fmt.Fprintf(o.streams.Out, "control plane at %s answers, with %d components\nnow: weft run -n %s --service NAME --port P -- PROGRAM\n",
			host.gateway, len(resp.GetComponents()), h.Namespaces[0])
		return nil
	})
	if err != nil {
		return fmt.Errorf("the host has joined, but its gateway at %s cannot be used yet: %w", host.gateway, err)
	}
	return nil
}
