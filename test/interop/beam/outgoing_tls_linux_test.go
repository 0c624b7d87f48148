package beam

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// TLS is verified, and the worker is told whose certificate it is; it may begin later, but not
// behind what somebody has put in before.
func TestOutgoingTLS(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		config, _ := farCertificate(t)
		listen := func() net.Listener {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
		plain, secret, none := listen(), listen(), listen()
		h := newDialHouse(t, r, build(t, r, "src"), plain.Addr().String(), secret.Addr().String(), none.Addr().String())
		w := h.dialler("socket", "")
		serve := func(l net.Listener, talk func(c net.Conn) error) {
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						_ = talk(c)
					}()
				}
			}()
		}
		serve(tls.NewListener(secret, config), func(c net.Conn) error { _, err := io.Copy(c, c); return err })
		serve(none, func(c net.Conn) error { _, err := fmt.Fprint(c, "welcome\n"); return err })
		said := make(chan string, 1)
		serve(plain, func(c net.Conn) error {
			r := bufio.NewReader(c)
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if _, err = fmt.Fprint(c, "GO\n"); err != nil {
				return err
			}
			if line == "INJECT\n" {
				if _, err = r.ReadString('\n'); err == nil {
					_, err = fmt.Fprint(c, "evil")
				}
				_, _ = io.Copy(io.Discard, c)
				return err
			}
			s := tls.Server(c, config)
			line, err = bufio.NewReader(s).ReadString('\n')
			said <- line
			_, _ = fmt.Fprint(s, line)
			_, _ = io.Copy(io.Discard, s)
			return err
		})
		connect := func(name string, l net.Listener, options string) string {
			return fmt.Sprintf(`case cnode_sessions:connect(server, "%s", "%s", %s) of {error, {A, B}} when is_binary(B) -> A; {ok, X} -> X end`,
				name, l.Addr(), options)
		}
		require.Equal(t, "certificate", w.Do(t, connect("bad", secret, `#{tls => true, server_name => "other.test"}`)))
		require.Equal(t, "tls", w.Do(t, connect("none", none, `#{tls => true}`)))
		require.Equal(t, "[772,true,true]", w.Do(t, `S = `+connect("one", secret, `#{tls => true, server_name => "far.test"}`)+`,
			{ok, #{tls := #{version := V, certificate := C}}} = cnode_sessions:info(S), ok = cnode_sessions:answer(S, "hello", <<"1">>),
			{ok, <<"hello">>} = cnode_sessions:peek(S, 5000), [V, is_binary(C), size(C) > 100]`))

		later := `S = ` + connect("%[1]s", plain, `#{tls => later}`) + `, {ok, I} = cnode_sessions:info(S), false = is_map_key(tls, I),
			ok = cnode_sessions:answer(S, "%[2]s\n", <<"asked">>), {ok, <<"GO\n", _/binary>>} = cnode_sessions:peek(S, 5000),
			{error, badarg} = cnode_sessions:begin_tls(S, 5000), ok = cnode_sessions:point(S, <<"go">>)`
		require.Equal(t, `[{ok,<<"secret\n">>},true]`, w.Do(t, fmt.Sprintf(later, "later", "STARTTLS")+`, ok = cnode_sessions:begin_tls(S, 5000),
			ok = cnode_sessions:answer(S, "secret\n", <<"in">>), Got = cnode_sessions:peek(S, 5000),
			{ok, #{tls := #{certificate := C}}} = cnode_sessions:info(S), [Got, size(C) > 100]`))
		require.Equal(t, "secret\n", <-said)
		require.Equal(t, `tls`, w.Do(t, fmt.Sprintf(later, "evil", "INJECT")+`, ok = cnode_sessions:send(S, "NOW\n"),
			{ok, <<"evil">>} = socket:recv(S, 0, [peek], 5000), {error, {Why, _}} = cnode_sessions:begin_tls(S, 5000), Why`))
	})
}

// What gen_tcp has read of a line that was put in before TLS does not count as said in secret.
func TestOutgoingLinesBeforeTLS(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		config, _ := farCertificate(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		h := newDialHouse(t, r, build(t, r, "src"), l.Addr().String())
		w := h.dialler("gen_tcp", "")
		talk := func(c net.Conn) {
			defer c.Close()
			line, _ := bufio.NewReader(c).ReadString('\n')
			_, _ = fmt.Fprint(c, map[string]string{"INJECT\n": "go\nevil\n", "START\n": "go\n"}[line])
			s := tls.Server(c, config)
			if s.Handshake() == nil {
				_, _ = fmt.Fprint(s, "secret\nmore\n")
			}
			_, _ = io.Copy(io.Discard, s)
		}
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go talk(c)
			}
		}()
		begin := func(line, then string) string {
			return w.Do(t, fmt.Sprintf(`{ok, S} = cnode_sessions:connect(server, "%s", "%s", #{tls => later}),
				ok = inet:setopts(S, [{packet, line}, {active, false}]), ok = cnode_sessions:answer(S, "%[1]s\n", <<"asked">>),
				{ok, <<"go\n">>} = gen_tcp:recv(S, 0), ok = cnode_sessions:point(S, <<"ready">>), %[3]s`, line, l.Addr(), then))
		}
		require.Equal(t, "true", begin("INJECT", "{error, {tls, Why}} = cnode_sessions:begin_tls(S, 20000), is_binary(Why)"))
		require.Equal(t, `{ok,<<"secret\n">>}`, begin("START", "ok = cnode_sessions:begin_tls(S, 20000), gen_tcp:recv(S, 0)"))
	})
}
