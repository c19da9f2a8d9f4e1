package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// sealed is how an encrypted file begins.
const sealed = "age-encryption.org/v1"

// Sealed says whether a file's content is encrypted.
func Sealed(data []byte) bool { return bytes.HasPrefix(data, []byte(sealed)) }

// effort is age's own: about a second for each guess of a passphrase.
const effort = 18

// Seal encrypts with a passphrase; `age -d` opens it too.
func Seal(data []byte, passphrase string) ([]byte, error) { return seal(data, passphrase, effort) }

func seal(data []byte, passphrase string, effort int) ([]byte, error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fault.New(fault.Invalid, "encrypt the backup: %v", err)
	}
	to.SetWorkFactor(effort)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("encrypt the backup: %w", err)
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("encrypt the backup: %w", err)
	}
	return out.Bytes(), nil
}

// Open decrypts.
func Open(data []byte, passphrase string) ([]byte, error) {
	who, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fault.New(fault.Invalid, "decrypt the backup: %v", err)
	}
	r, err := age.Decrypt(bytes.NewReader(data), who)
	if err != nil {
		return nil, fault.New(fault.Denied, "the backup cannot be decrypted with this passphrase: %v", err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return nil, damaged("it cannot be decrypted: %v", err)
	}
	return out, nil
}
