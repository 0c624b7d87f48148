package tlstransport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// A Failure says which check a session has failed.
type Failure string

// The checks. Both sides check certificates: PeerError.ByPeer tells which side made the check that
// failed.
const (
	FailureExpired          Failure = "certificate has expired or is not valid yet"
	FailureUnknownAuthority Failure = "certificate is signed by an unknown authority"
	FailureHost             Failure = "certificate is for another host"
	FailureRevoked          Failure = "certificate has been revoked"
	FailureNoCertificate    Failure = "no certificate"
	FailureCertificate      Failure = "certificate refused"
	FailureHandshake        Failure = "handshake refused" // by an Alert that fits no other check; OTP 25: host
	FailureAllowed          Failure = "node is not allowed"
	FailureTLS              Failure = "no TLS spoken"
	FailureProtocol         Failure = "no protocol version, cipher suite, group or signature algorithm in common"
	FailureTime             Failure = "TLS handshake took too long"
	FailureSession          Failure = "TLS session broken"
	// by the peer, in the handshake or without close_notify; for a Write, by CloseWrite
	FailureClosed Failure = "connection closed"
)

// A PeerError says why there is no TLS session with a peer, or no longer one: which check failed,
// for which peer, and which side made the check. What a peer that refuses us wants depends on the
// roles: a server wants certificates that are good for clients (extendedKeyUsage clientAuth,
// keyUsage digitalSignature), a client wants one for the host of the node's name (subjectAltName).
type PeerError struct {
	Addr    string  // the peer's address
	Node    string  // its node name, if it is known
	Failure Failure // the check that failed
	ByPeer  bool    // the peer checked us, and sent an alert
	Client  bool    // we are the client: we have made the connection
	Err     error   // the reason; for an alert, ours or the peer's, an Alert
}

// Error names the peer, the check and the reason.
func (e *PeerError) Error() string {
	who := e.Addr
	switch {
	case e.Node != "":
		who = strings.TrimSuffix(e.Node+" ("+e.Addr+")", " ()")
	case who == "":
		who = "an unnamed peer"
	}
	if e.ByPeer {
		return fmt.Sprintf("TLS: %s refuses us: %s: %v", who, e.Failure, e.Err)
	}
	return fmt.Sprintf("TLS with %s: %s: %v", who, e.Failure, e.Err)
}

// Unwrap gives the reason: an error of crypto/tls, crypto/x509 or the system.
func (e *PeerError) Unwrap() error { return e.Err }

var (
	// ErrNotMovable is wrapped by the error of exporting a session that cannot move; nothing has
	// changed.
	ErrNotMovable = errors.New("this TLS session cannot move to another process")
	// ErrState is wrapped by the error of importing a state that no Export has made.
	ErrState = errors.New("not the state of a TLS session")
	// ErrTimeout is wrapped by a PeerError: the handshake took longer than Options.HandshakeTimeout.
	ErrTimeout = errors.New("not finished within Options.HandshakeTimeout: the peer is slow, or does not speak TLS")
	// ErrNotAllowed is wrapped by a PeerError: a PeerCheck refuses the peer.
	ErrNotAllowed = errors.New("refused by a PeerCheck")
)

var (
	// errClosed is the error of a write that CloseWrite has ended, or that comes after it.
	errClosed = fmt.Errorf("no more can be sent in this session: %w", syscall.EPIPE)
	// errCutOff is the error of a read when the connection has ended without close_notify, so that
	// data may be missing.
	errCutOff = fmt.Errorf("it was cut off, without close_notify: %w", io.ErrUnexpectedEOF)
)

// An Alert is an alert of the TLS protocol that a session ended with. See RFC 8446, section 6.
type Alert uint8

// Error is the alert's name in the standards and its number.
func (a Alert) Error() string {
	if name, ok := alertNames()[a]; ok {
		return fmt.Sprintf("alert %s (%d)", name, uint8(a))
	}
	return fmt.Sprintf("alert %d", uint8(a))
}

// alertNames are the names of RFC 8446, section 6, and RFC 5246, section 7.2. Erlang nodes log the
// same with spaces.
func alertNames() map[Alert]string {
	return map[Alert]string{
		0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
		22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure",
		41: "no_certificate", 42: "bad_certificate", 43: "unsupported_certificate",
		44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
		47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
		51: "decrypt_error", 60: "export_restriction", 70: "protocol_version",
		71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback",
		90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
		110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
		113: "bad_certificate_status_response", 114: "bad_certificate_hash_value",
		115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol",
	}
}

const (
	alertCloseNotify         Alert = 0
	alertUnexpectedMessage   Alert = 10
	alertBadRecordMAC        Alert = 20
	alertRecordOverflow      Alert = 22
	alertHandshakeFailure    Alert = 40
	alertBadCertificate      Alert = 42
	alertUnsupported         Alert = 43
	alertRevoked             Alert = 44
	alertCertificateExpired  Alert = 45
	alertCertificateUnknown  Alert = 46
	alertIllegalParameter    Alert = 47
	alertUnknownCA           Alert = 48
	alertAccessDenied        Alert = 49
	alertDecodeError         Alert = 50
	alertProtocolVersion     Alert = 70
	alertInsufficient        Alert = 71
	alertInternalError       Alert = 80
	alertUserCanceled        Alert = 90
	alertNoRenegotiation     Alert = 100
	alertCertificateRequired Alert = 116
)

// check returns the check of the peer's that an alert reports as failed.
func (a Alert) check() Failure {
	switch a {
	case alertRevoked:
		return FailureRevoked
	case alertBadCertificate, alertUnsupported, alertCertificateUnknown, alertAccessDenied:
		return FailureCertificate
	case alertCertificateExpired:
		return FailureExpired
	case alertUnknownCA:
		return FailureUnknownAuthority
	case alertCertificateRequired:
		return FailureNoCertificate
	case alertProtocolVersion, alertInsufficient:
		return FailureProtocol
	}
	return FailureHandshake
}

// refusal returns the check that the peer reports as failed by an alert. Once the handshake is over
// on both sides, which with TLS 1.3 only a received packet shows, alerts are no longer about the
// handshake's checks.
func (s *Socket) refusal(a Alert) Failure {
	if s.completed.Load() || s.up.Load() && s.tls12 {
		return FailureSession
	}
	return a.check()
}

// alertOf finds the alert in an error of crypto/tls, by the error's text. The operation is "remote
// error" for the peer's alerts, and "local error" for ours.
func alertOf(err error, operation string) (Alert, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != operation {
		return 0, false
	}
	for code := range 256 {
		if op.Err.Error() == tls.AlertError(code).Error() {
			return Alert(code), true
		}
	}
	return 0, false
}

// nothingInCommon are the texts of crypto/tls's errors for FailureProtocol.
var nothingInCommon = []string{
	"unsupported protocol version", "unsupported versions", "no cipher suite supported", "no key exchanges supported",
	"no supported elliptic curves", "unsupported application protocols",
	"peer doesn't support any of the certificate's signature algorithms", "peer doesn't support the certificate custom signature algorithms",
}

// unreadable are the texts of crypto/tls's errors for a peer's certificate that crypto/x509 cannot
// read: its key is on another curve, say.
var unreadable = []string{"failed to parse certificate from server", "failed to parse client certificate"}

func saysOneOf(err error, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(err.Error(), text) })
}

// checked makes a PeerError of a check.
func (s *Socket) checked(c Failure, err error) *PeerError {
	e := &PeerError{Node: s.peerName(), Failure: c, Client: s.role == client, Err: err}
	if s.remote != nil {
		e.Addr = s.remote.String()
	}
	return e
}

// peerError makes a PeerError of an error, with the check that err stands for.
func (s *Socket) peerError(err error) error {
	if err == nil {
		return nil
	}
	if known := new(*PeerError); errors.As(err, known) {
		return err
	}
	e := s.checked(FailureSession, err)
	var invalid x509.CertificateInvalidError
	var alert Alert
	if a, ok := alertOf(err, "remote error"); ok {
		e.Failure, e.ByPeer, e.Err = s.refusal(a), true, a
		return e
	}
	if a, ok := alertOf(err, "local error"); ok {
		e.Err = fmt.Errorf("%w: %w", err, a)
	}
	switch {
	case errors.As(err, &alert): // from our own record layer: session.fail completes the error
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Failure = FailureExpired
	case errors.As(err, new(x509.UnknownAuthorityError)):
		e.Failure = FailureUnknownAuthority
	case errors.As(err, new(x509.HostnameError)):
		e.Failure = FailureHost
	case errors.Is(err, errRevoked):
		e.Failure = FailureRevoked
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, &invalid):
		e.Failure = FailureCertificate
	case errors.As(err, new(tls.RecordHeaderError)):
		e.Failure = FailureTLS
	// crypto/tls has no error value for it
	case strings.Contains(err.Error(), "didn't provide a certificate"):
		e.Failure = FailureNoCertificate
	case saysOneOf(err, nothingInCommon):
		e.Failure = FailureProtocol
	case saysOneOf(err, unreadable):
		e.Failure = FailureCertificate
	case s.tap != nil && !s.tap.shaken && !s.tap.failed && err != io.EOF:
		// An error of the configuration's own functions, whatever it wraps. A bare io.EOF is
		// crypto/tls's error for close_notify.
	case errors.Is(err, ErrTimeout), errors.Is(err, os.ErrDeadlineExceeded):
		// Not reported as a time-out of the call that waits for the handshake, since waiting again
		// would not help.
		e.Failure, e.Err = FailureTime, ErrTimeout
	case isEnd(err):
		e.Failure = FailureClosed
	}
	return e
}
