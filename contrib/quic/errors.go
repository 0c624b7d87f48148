package cnodequic

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"syscall"

	"github.com/quic-go/quic-go"

	"github.com/cnode-go/cnode/tlstransport"
)

const levelFailed = slog.LevelDebug

// A failure is an error of quic-go as one of the system. Those of quic-go are all net.ErrClosed,
// which says that this side has closed; so they are not wrapped, but found by errors.As.
type failure struct {
	quic  error
	errno error
}

func (f *failure) Error() string      { return "QUIC: " + f.errno.Error() + ": " + f.quic.Error() }
func (f *failure) Unwrap() error      { return f.errno }
func (f *failure) As(target any) bool { return errors.As(f.quic, target) }

// failed makes an error of this package of one of quic-go. closed is what it is if the peer has
// closed the connection, or its end of the stream.
func (s *Socket) failed(err error, closed syscall.Errno) error {
	var idle *quic.IdleTimeoutError
	var slow *quic.HandshakeTimeoutError
	var why *quic.TransportError
	var app *quic.ApplicationError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case err == syscall.EPIPE:
		return err
	case errors.As(err, &idle), errors.As(err, &slow):
		return &failure{err, syscall.ETIMEDOUT}
	case errors.As(err, &app) && app.Remote && app.ErrorCode == codeRefused:
		return &failure{err, syscall.ECONNREFUSED}
	case !errors.As(err, &why):
		return &failure{err, closed}
	case why.ErrorCode.IsCryptoError():
		return s.alert(why)
	case why.Remote && why.ErrorCode == quic.ConnectionRefused:
		return &failure{err, syscall.ECONNREFUSED}
	}
	return &failure{err, syscall.ECONNABORTED}
}

// alert makes an error of a TLS alert: the peer's, or ours with the reason.
func (s *Socket) alert(err *quic.TransportError) error {
	alert := tlstransport.Alert(err.ErrorCode - 0x100)
	if err.Remote {
		e := s.refused(s.node, checkOf(alert), alert)
		e.ByPeer = true
		return e
	}
	check := checkOf(alert)
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		check = tlstransport.FailureExpired
	case errors.As(err, new(x509.UnknownAuthorityError)):
		check = tlstransport.FailureUnknownAuthority
	case errors.As(err, new(x509.HostnameError)):
		check = tlstransport.FailureHost
	}
	return s.refused(s.node, check, &failure{err, alert})
}

func (s *Socket) refused(node string, check tlstransport.Failure, err error) *tlstransport.PeerError {
	return &tlstransport.PeerError{Addr: s.remote.String(), Node: node, Failure: check, Client: s.client, Err: err}
}

// checkOf is the check that an alert reports as failed. See RFC 8446, section 6.2.
func checkOf(a tlstransport.Alert) tlstransport.Failure {
	switch a {
	case 42, 43, 46, 49: // bad_certificate, unsupported_certificate, certificate_unknown, access_denied
		return tlstransport.FailureCertificate
	case 44: // certificate_revoked
		return tlstransport.FailureRevoked
	case 45: // certificate_expired
		return tlstransport.FailureExpired
	case 48: // unknown_ca
		return tlstransport.FailureUnknownAuthority
	case 116: // certificate_required
		return tlstransport.FailureNoCertificate
	case 70, 71, 120: // protocol_version, insufficient_security, no_application_protocol
		return tlstransport.FailureProtocol
	}
	return tlstransport.FailureHandshake
}
