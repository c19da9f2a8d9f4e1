package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// ensureFirst makes the first administrator's token of a store and writes it to a file, 0600. It reports whether it did.
//
// The store decides: once it holds the record of the first token, deleted or not, no replica ever makes another, and a lost
// file stays lost until an administrator mints a new token. The file is written before the record, so that a crash between
// the two leaves a file whose secret the next start takes up, and never a record whose secret nobody has.
func (a adminTokens) ensureFirst(ctx context.Context, path string) (bool, error) {
	key := recordKey(collectionAdminTokens, firstID)
	if _, err := a.store.Get(ctx, key); err == nil || !errors.Is(err, kv.ErrNotFound) {
		return false, err
	}
	secret, err := readFirst(path)
	if err != nil {
		return false, err
	}
	if secret == "" {
		if secret, err = writeFirst(path); err != nil {
			return false, err
		}
	}
	record := &identitypb.AdminTokenRecord{
		SecretSha256: hashSecret(secret),
		AdminToken: &identitypb.AdminToken{
			Id: firstID, Description: "made when the control plane was first started", CreateTime: timestamppb.Now(),
		},
	}
	_, err = writeRecord(ctx, a.store, key, record, kv.IfAbsent())
	if errors.Is(err, kv.ErrConflict) {
		return false, a.yield(ctx, key, path, secret)
	}
	return err == nil, err
}

// yield removes the file of the replica that was a moment too late, unless the winner wrote the very same one: replicas on
// one machine may share a data directory.
func (a adminTokens) yield(ctx context.Context, key, path, secret string) error {
	record := &identitypb.AdminTokenRecord{}
	if _, err := readRecord(ctx, a.store, key, record); err != nil {
		return err
	}
	if isSecret(record.GetSecretSha256(), secret) {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove administrator's token of the losing replica: %w", err)
	}
	return nil
}

// readFirst returns the secret that an earlier start has written, or "" when there is none or something else is there.
func readFirst(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read administrator's token: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if !strings.HasPrefix(secret, adminPrefix+firstID+".") {
		return "", nil
	}
	return secret, nil
}

func writeFirst(path string) (string, error) {
	_, random, err := newSecret()
	if err != nil {
		return "", err
	}
	secret := adminPrefix + firstID + "." + random
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("write administrator's token: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return "", fmt.Errorf("write administrator's token: %w", err)
	}
	_, werr := tmp.WriteString(secret + "\n")
	if err := errors.Join(werr, tmp.Sync(), tmp.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write administrator's token: %w", err), os.Remove(tmp.Name()))
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", fmt.Errorf("write administrator's token: %w", err)
	}
	return secret, nil
}
