package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/spf13/cobra"
)

// certsLife is how long certificates are valid: no longer than browsers accept.
const certsLife = 397 * 24 * time.Hour

func Command() *cobra.Command {
	var hosts []string
	cmd := &cobra.Command{
		Use:   "certs DIR",
		Short: "Make certificates and an option file for nodes that talk over TLS",
		Long: `Make an authority, one certificate and key for all nodes of a cluster, and an option file that
makes nodes present the certificate to each other and verify it:

  DIR/ca.pem         the authority's certificate; its key is thrown away, so nobody can ever sign another certificate
  DIR/node.pem       the nodes' certificate: for localhost, this machine's names, and what --host adds
  DIR/node.key       its key: whoever can read it, and has the cookie, can join the cluster
  DIR/ssl_dist.conf  the option file, for --tls-optfile here and -ssl_dist_optfile of erl

They are for trying things out, and for clusters of a few machines: copy DIR to the same place on each. They are valid for 13 months. certs
never overwrites a file: one that already exists is an error, as is a DIR that belongs to a user other than you or root.`,
		Example: `  cnode-demo certs /tmp/tls
  cnode-demo serve --transport tls --tls-optfile /tmp/tls/ssl_dist.conf --cookie secret
  erl -name x@127.0.0.1 -setcookie secret -proto_dist inet_tls -ssl_dist_optfile /tmp/tls/ssl_dist.conf
  cnode-demo certs /etc/cluster --host a.example.org --host b.example.org`,
		Args: cli.Args("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, h := range hosts {
				if err := checkHost(h); err != nil {
					return err
				}
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if err := Write(dir, append(hosts, ownHosts()...), time.Now()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "made %s\nuse  --transport tls --tls-optfile %[1]s\nor   erl -proto_dist inet_tls "+
				"-ssl_dist_optfile %[1]s\n", filepath.Join(dir, ConfFile))
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&hosts, "host", nil, "another `HOST` of nodes' names, or an address; may be repeated")
	return cmd
}

// checkHost refuses what cannot be the host in a node's name, and names with a "*", which nodes do
// not match with their own.
func checkHost(host string) error {
	if dist.CheckOwnName("x@"+host) != nil || strings.Contains(host, "*") {
		return cli.Usagef("--host %q: want the part of a node's name behind the \"@\", such as a.example.org or 10.0.0.7", host)
	}
	return nil
}

// ownHosts are the names under which nodes of this machine are known.
func ownHosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" {
		short, _, _ := strings.Cut(name, ".")
		hosts = append(hosts, name, short, config.LongHost(name))
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// What certs makes.
const (
	CaFile   = "ca.pem"
	NodeFile = "node.pem"
	KeyFile  = "node.key"
	ConfFile = "ssl_dist.conf"
)

// Write makes the directory and the four files.
func Write(dir string, hosts []string, now time.Time) error {
	if err := certsDir(dir); err != nil {
		return err
	}
	ca, node, key, err := issue(hosts, now)
	if err != nil {
		return err
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return writeAll(dir, []file{
		{CaFile, encode("CERTIFICATE", ca)}, {NodeFile, encode("CERTIFICATE", node)}, {KeyFile, encode("PRIVATE KEY", key)},
		{ConfFile, optionFile(dir)},
	})
}

// A file is one to be made.
type file struct {
	name    string
	content []byte
}

// writeAll writes files that are not there yet: all of them, or none, since some alone are of no
// use, and in the way of the next certs.
func writeAll(dir string, files []file) (err error) {
	for i, f := range files {
		if err = writeNew(filepath.Join(dir, f.name), f.content); err == nil {
			continue
		}
		for _, made := range files[:i] {
			err = errors.Join(err, os.Remove(filepath.Join(dir, made.name)))
		}
		return err
	}
	return nil
}

// certsDir makes the directory, or checks that no other user could exchange the files in it, and
// that none of them exists yet.
func certsDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// dir may be a link
	for _, look := range []func(string) (fs.FileInfo, error){os.Lstat, os.Stat} {
		info, err := look(dir)
		if err != nil {
			return err
		}
		if config.Foreign(info) {
			return fmt.Errorf("%s belongs to another user, who could exchange the certificates: name another directory", dir)
		}
	}
	for _, name := range []string{CaFile, NodeFile, KeyFile, ConfFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), fs.ErrExist)
		}
	}
	return nil
}

// issue makes an authority, whose key is forgotten, and a certificate for nodes on hosts, with its
// key: all in DER.
func issue(hosts []string, now time.Time) (ca, node, key []byte, err error) {
	authority, authorityKey, err := certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "cnode-demo authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil, now)
	if err != nil {
		return nil, nil, nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "cnode-demo node"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		template.DNSNames = append(template.DNSNames, h) // OTP 25 looks for addresses here, too
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	issued, nodeKey, err := certificate(template, authority, authorityKey, now)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(nodeKey)
	return authority.Raw, issued.Raw, key, err
}

// writeNew writes a file that is not there yet: all of it, or there is none.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// certificate makes a key and its certificate, signed by ca, or by itself.
func certificate(template, ca *x509.Certificate, caKey crypto.Signer, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	// the nodes' clocks differ
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(certsLife)
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// optionFile is the content of the option file, which erl and this program both take. OTP 25 and 27
// speak TLS 1.3 only when they are told to.
func optionFile(dir string) []byte {
	erlang := func(name string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(filepath.Join(dir, name)) + `"`
	}
	common := fmt.Sprintf("{certfile,%s},\n  {keyfile,%s},\n  {cacertfile,%s},\n  {verify,verify_peer},\n  {versions,['tlsv1.3','tlsv1.2']}",
		erlang(NodeFile), erlang(KeyFile), erlang(CaFile))
	return fmt.Appendf(nil, "%%%% -*- coding: utf-8 -*-\n[{server,[\n  %s,\n  {fail_if_no_peer_cert,true}]},\n {client,[\n  %[1]s]}].\n",
		common)
}
