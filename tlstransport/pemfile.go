package tlstransport

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxKeyFile bounds files of certificates and keys.
const maxKeyFile = 16 << 20

// readUpTo reads a file, or limit+1 bytes of one that is larger: a device or a pipe does not tell
// its size beforehand.
func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// A pemPart is a part of a PEM file.
type pemPart struct {
	*pem.Block
	line int    // of its BEGIN
	kind string // what its BEGIN says
	err  error  // why it cannot be read; Block is nil then
	late bool   // its BEGIN is not at the beginning of the line: Erlang nodes skip it
}

// pemBegin is how a part begins.
const pemBegin = "-----BEGIN "

func readPEM(path string) ([]pemPart, error) {
	b, err := readUpTo(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxKeyFile)
	}
	parts := partsOf(b)
	if len(parts) == 0 {
		return nil, fmt.Errorf("%s: nothing in PEM format", path)
	}
	return parts, nil
}

// partsOf takes each BEGIN as that of a part, wherever in its line it stands: behind a byte order
// mark, say, or right behind the END of the part before.
func partsOf(b []byte) (parts []pemPart) {
	before, rest, more := bytes.Cut(b, []byte(pemBegin))
	line := 1
	for more {
		line += bytes.Count(before, []byte("\n"))
		p := pemPart{line: line, late: len(before) > 0 && !bytes.HasSuffix(before, []byte("\n"))}
		before, rest, more = bytes.Cut(rest, []byte(pemBegin))
		kind, _, _ := bytes.Cut(before, []byte("-----"))
		p.kind = string(kind)
		if p.Block, _ = pem.Decode(append([]byte(pemBegin), before...)); p.Block == nil {
			p.err = errors.New("its base64 text is damaged, or its END line")
			if !bytes.Contains(before, []byte("-----END ")) {
				p.err = errors.New("it has no END line")
			}
		}
		parts = append(parts, p)
	}
	return parts
}

// A certificateFile is what a file of certificates has.
type certificateFile struct {
	certificates []*x509.Certificate
	first        error   // why the first certificate of the file is not the first of certificates
	faults       []error // what is skipped, here or by Erlang nodes, for warnings
}

// readCertificates reads the certificates of a file. Those that crypto/x509 cannot parse are
// skipped, as OTP skips those that it cannot parse; if none is left, that is an error.
func readCertificates(path string) (f certificateFile, err error) {
	parts, err := readPEM(path)
	if err != nil {
		return f, err
	}
	for _, p := range parts {
		at := fmt.Sprintf("%s: line %d", path, p.line)
		c, err := p.certificate()
		switch {
		case err != nil:
			err = fmt.Errorf("%s: a certificate is skipped: %w", at, err)
			f.faults = append(f.faults, err)
			if len(f.certificates) == 0 && f.first == nil {
				f.first = err
			}
		case c != nil && p.late:
			f.faults = append(f.faults, fmt.Errorf("%s: a certificate is read here, but skipped "+
				"by Erlang nodes: its BEGIN is not at the beginning of the line", at))
			fallthrough
		case c != nil:
			f.certificates = append(f.certificates, c)
		}
	}
	if len(f.certificates) == 0 {
		none := fmt.Errorf("%s: no certificate in it that can be read", path)
		return f, errors.Join(append([]error{none}, f.faults...)...)
	}
	return f, nil
}

// certificate parses a part as a certificate; nil and no error: it is of another kind.
func (p pemPart) certificate() (*x509.Certificate, error) {
	switch {
	case p.kind != "CERTIFICATE" && (strings.Contains(p.kind, "CERTIFICATE") || p.kind == "PKCS7"):
		return nil, fmt.Errorf("it is a %s, and only CERTIFICATE is read, as in Erlang", p.kind)
	case p.kind != "CERTIFICATE": // a key, parameters, a list of revoked certificates
		return nil, nil
	case p.err != nil:
		return nil, p.err
	}
	return x509.ParseCertificate(p.Bytes)
}
