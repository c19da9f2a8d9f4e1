package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/atomicfile"
)

func leaveCommand(o *options) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Take back what `weft join` did to this machine",
		Long: `Give the host's credential back to the control plane and remove what "weft join" wrote. Workloads that run go on: their
sidecars have identities of their own, which they renew themselves. Stop them first if the machine leaves for good.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := readHost(o.dataDir)
			if err != nil {
				return err
			}
			if h == nil {
				fmt.Fprintf(o.streams.Out, "this machine has joined nothing (%s has no %s)\n", o.dataDir, hostFile)
				return nil
			}
			err = o.deleteCredential(cmd.Context(), h)
			if err != nil && !force {
				return fmt.Errorf("the credential cannot be given back: %w\n--force removes it here; an administrator then runs `weft token admin delete %s`", err, h.Credential)
			}
			if err != nil {
				fmt.Fprintf(o.streams.Err, "weft: the credential still works: `weft token admin delete %s` takes it back\n", h.Credential)
			}
			for _, name := range []string{hostFile, hostTokenFile, app.BundleFile} { // the record first: it says that the rest counts
				if err := os.Remove(filepath.Join(o.dataDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("leave: %w", err)
				}
			}
			fmt.Fprintf(o.streams.Out, "host %s has left %s\n", h.Host, h.TrustDomain)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "leave although the control plane cannot be told")
	return cmd
}

// deleteCredential revokes this host's own credential; one that works no more is gone already.
func (o *options) deleteCredential(ctx context.Context, h *hostRecord) error {
	host := *o
	host.gateway, host.tokenFile, host.caFile = strings.Join(h.Gateway, ","), filepath.Join(o.dataDir, hostTokenFile), ""
	err := host.call(ctx, func(ctx context.Context, c *client) error {
		_, err := c.identity.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: h.Credential})
		return err
	})
	if code(err) == codes.Unauthenticated || code(err) == codes.NotFound {
		return nil
	}
	return err
}

// giveBack revokes the credential of an earlier join by itself, since a host may delete no other. What fails is told, and
// no reason to fail: the new credential is there.
func (o *options) giveBack(ctx context.Context, old *hostRecord, secret string) {
	file, err := os.CreateTemp(o.dataDir, ".old-*") // made 0600
	if err == nil {
		defer os.Remove(file.Name())
		_, err = file.WriteString(secret)
		err = errors.Join(err, file.Close())
	}
	if err == nil {
		host := *o
		host.gateway, host.tokenFile, host.caFile = strings.Join(old.Gateway, ","), file.Name(), ""
		err = host.call(ctx, func(ctx context.Context, c *client) error {
			_, err := c.identity.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: old.Credential})
			return err
		})
	}
	if err != nil && code(err) != codes.Unauthenticated && code(err) != codes.NotFound {
		fmt.Fprintf(o.streams.Err, "weft: the credential of the earlier join still works (%s): `weft token admin delete %s` takes it back\n", describe(err), old.Credential)
	}
}

// refreshBundle keeps the bundle of a joined host up to date, as a control plane does on its own machine: a new authority is
// in the bundle before it signs anything, so who looks now and then misses none.
func (o *options) refreshBundle(ctx context.Context) error {
	h, err := readHost(o.dataDir)
	if err != nil || h == nil || o.caFile != "" {
		return err
	}
	return o.call(ctx, func(ctx context.Context, c *client) error {
		resp, err := c.identity.GetBundle(ctx, &identitypb.GetBundleRequest{})
		if err != nil {
			return err
		}
		path := filepath.Join(o.dataDir, app.BundleFile)
		text := bundlePEM(resp.GetBundle().GetX509Authorities())
		if old, err := os.ReadFile(path); len(text) == 0 || err == nil && bytes.Equal(old, text) {
			return nil
		}
		return atomicfile.Write(path, text, 0o644) // certificates are public
	})
}
