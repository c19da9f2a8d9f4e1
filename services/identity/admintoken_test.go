package identity_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

func fileToken(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func bearer(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func TestFirstTokenIsWrittenOnce(t *testing.T) {
	store, dir := memkv.New(), t.TempDir()
	start := func() (stop func(), p *parts) {
		p = newParts(t, store, dir, "a")
		stop = run(t, p.service.Run)
		synctest.Wait()
		return stop, p
	}
	synctest.Test(t, func(t *testing.T) {
		store = memkv.New()
		stop, _ := start()
		info, err := os.Stat(filepath.Join(dir, "admin.token"))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("mode of admin.token is %o, want 600", mode)
		}
		first := fileToken(t, dir)
		stop()
		stop, _ = start()
		if again := fileToken(t, dir); again != first {
			t.Error("a restart wrote another token")
		}
		stop()
		if err := os.Remove(filepath.Join(dir, "admin.token")); err != nil {
			t.Fatal(err)
		}
		stop, p := start()
		defer stop()
		if _, err := os.Stat(filepath.Join(dir, "admin.token")); !os.IsNotExist(err) {
			t.Errorf("a lost file was made again: %v", err)
		}
		if _, err := p.service.AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: first}); err != nil {
			t.Errorf("the token of the lost file does not work any more: %v", err)
		}
	})
}

// A crash between the file and the store leaves a file; the next start takes its secret up.
func TestFirstTokenSurvivesACrash(t *testing.T) {
	dir := t.TempDir()
	secret := "weft-admin.first." + strings.Repeat("x", 43)
	if err := os.WriteFile(filepath.Join(dir, "admin.token"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := newParts(t, memkv.New(), dir, "a")
		run(t, p.service.Run)
		synctest.Wait()
		if _, err := p.service.AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: secret}); err != nil {
			t.Error(err)
		}
	})
}

// Two replicas that begin at once leave one token and one file that holds it.
func TestOneFirstToken(t *testing.T) {
	dirs := [2]string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		var last *parts
		for _, dir := range dirs {
			last = newParts(t, store, dir, dir)
			run(t, last.service.Run)
		}
		synctest.Wait()
		files := 0
		for _, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, "admin.token")); err != nil {
				continue
			}
			files++
			if _, err := last.service.AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: fileToken(t, dir)}); err != nil {
				t.Errorf("a file holds a token that does not work: %v", err)
			}
		}
		if files != 1 {
			t.Errorf("%d files were written, want 1", files)
		}
	})
}

func TestAdminTokens(t *testing.T) {
	r := start(t, memkv.New(), "a")
	first := fileToken(t, r.dir)
	client := r.anonymous(t, anybody)
	made, err := client.CreateAdminToken(bearer(t.Context(), first), &identitypb.CreateAdminTokenRequest{
		Description: "ci", Ttl: durationpb.New(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	whose, err := r.gateway(t).AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: made.GetSecret()})
	if err != nil || whose.GetAdminToken().GetDescription() != "ci" {
		t.Fatalf("new token is of %v (%v)", whose, err)
	}
	ctx := bearer(t.Context(), made.GetSecret())
	all, err := client.ListAdminTokens(ctx, &identitypb.ListAdminTokensRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(all.GetAdminTokens()); n != 2 || all.GetAdminTokens()[0].GetId() != "first" {
		t.Errorf("tokens are %v, want the first and the new one", all.GetAdminTokens())
	}
	if _, err := client.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: "first"}); err != nil {
		t.Fatal(err)
	}
	_, err = client.ListAdminTokens(bearer(t.Context(), first), &identitypb.ListAdminTokensRequest{})
	refused(t, err, codes.Unauthenticated, "deleted")
	_, err = client.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: "first"})
	refused(t, err, codes.NotFound, "first")
	_, err = client.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: made.GetAdminToken().GetId()})
	refused(t, err, codes.InvalidArgument, "last administrator's token")
	_, err = client.CreateAdminToken(ctx, &identitypb.CreateAdminTokenRequest{Ttl: durationpb.New(-time.Second)})
	refused(t, err, codes.InvalidArgument, "ttl")
}

func TestDeletedFirstTokenStaysDeleted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		p := newParts(t, store, dir, "a")
		stop := run(t, p.service.Run)
		synctest.Wait()
		first := fileToken(t, dir)
		if _, err := p.service.CreateAdminToken(t.Context(), &identitypb.CreateAdminTokenRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.service.DeleteAdminToken(t.Context(), &identitypb.DeleteAdminTokenRequest{Id: "first"}); err != nil {
			t.Fatal(err)
		}
		stop()
		p = newParts(t, store, dir, "a")
		run(t, p.service.Run)
		time.Sleep(time.Hour)
		if _, err := p.service.AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: first}); !fault.Is(err, fault.Anonymous) {
			t.Errorf("a deleted token works again after a restart: %v", err)
		}
	})
}

func TestAdminTokensExpire(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		p := newParts(t, store, dir, "a")
		run(t, p.service.Run)
		synctest.Wait()
		made, err := p.service.CreateAdminToken(t.Context(), &identitypb.CreateAdminTokenRequest{Ttl: durationpb.New(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		_, err = p.service.AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: made.GetSecret()})
		if !fault.Is(err, fault.Anonymous) {
			t.Errorf("an expired token works: %v", err)
		}
		time.Sleep(2 * time.Minute)
		left, err := p.service.ListAdminTokens(t.Context(), &identitypb.ListAdminTokensRequest{})
		if err != nil || len(left.GetAdminTokens()) != 1 {
			t.Errorf("left are %v (%v), want only the first", left, err)
		}
	})
}

// TestID7_OnlyAdministratorsMint lists who may not.
func TestID7_OnlyAdministratorsMint(t *testing.T) {
	r := start(t, memkv.New(), "a")
	web := r.join(t, r.token(t, "web"))
	mint := &identitypb.CreateJoinTokenRequest{Namespace: "weft-system", Account: "gateway"}
	tests := []struct {
		name   string
		client identitypb.IdentityServiceClient
		ctx    context.Context
		code   codes.Code
	}{
		{"nobody", r.anonymous(t, anybody), t.Context(), codes.Unauthenticated},
		{"a workload", r.as(t, web), t.Context(), codes.PermissionDenied},
		{"another service", r.as(t, r.system(t, "telemetry")), t.Context(), codes.PermissionDenied},
		{"a wrong bearer token", r.anonymous(t, anybody), bearer(t.Context(), "weft-admin.first.guess"), codes.Unauthenticated},
		{"a join token as bearer", r.anonymous(t, anybody), bearer(t.Context(), r.token(t, "x")), codes.Unauthenticated},
		{"an administrator", r.anonymous(t, anybody), bearer(t.Context(), fileToken(t, r.dir)), codes.OK},
		{"the gateway", r.gateway(t), t.Context(), codes.OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.client.CreateJoinToken(tt.ctx, mint)
			refused(t, err, tt.code)
		})
	}
	t.Run("only the gateway authenticates others", func(t *testing.T) {
		_, err := r.as(t, web).AuthenticateToken(bearer(t.Context(), fileToken(t, r.dir)), &identitypb.AuthenticateTokenRequest{Secret: "x"})
		refused(t, err, codes.PermissionDenied, "gateway")
	})
}
