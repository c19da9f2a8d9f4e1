package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/logging"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/discovery"
	"github.com/weft-mesh/weft/services/distributor"
	"github.com/weft-mesh/weft/services/gateway"
	"github.com/weft-mesh/weft/services/identity"
	"github.com/weft-mesh/weft/services/policy"
	"github.com/weft-mesh/weft/services/telemetry"
)

func upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a whole control plane in this process",
		Long: `Run discovery, identity, policy, telemetry, distributor and gateway in this process, with an embedded etcd and a
certificate authority of their own: the same services, APIs and mutual TLS as when each is a process.

The first administrator's token is written to <data-dir>/admin.token. With --etcd-endpoints the state is kept in an etcd
cluster instead. Settings come from flags, then WEFT_<KEY>, then /etc/weft/up.yaml, then defaults.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := app.Load(cmd.Flags(), "up")
			if err == nil {
				err = settings.Validate()
			}
			if err != nil {
				return codeError{exitInvalid, err}
			}
			if check, _ := cmd.Flags().GetBool("check-config"); check {
				fmt.Fprintln(cmd.OutOrStdout(), "configuration is valid")
				return nil
			}
			return up(cmd.Context(), settings)
		},
	}
	app.Flags(cmd.Flags())
	return cmd
}

// up runs until a signal; a second one ends it at once.
func up(ctx context.Context, settings *app.Settings) error {
	log, err := logging.New(logging.Config{Level: settings.Log.Level, Format: settings.Log.Format})
	if err != nil {
		return codeError{exitInvalid, err}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	err = app.Run(ctx, settings, log, discovery.Build(), identity.Build(), policy.Build(), telemetry.Build(), distributor.Build(), gateway.Build())
	if err != nil {
		return codeError{exitError, err}
	}
	return nil
}
