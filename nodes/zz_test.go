package nodes
import ("testing";"net";"context";"time";"fmt";"github.com/cnode-go/cnode/transport";"net/netip")
type slowR struct{}
func (slowR) Resolve(ctx context.Context, node string) (Endpoint, error) {
 switch node { case "slow@h": <-ctx.Done(); return Endpoint{}, ctx.Err() }
 return Endpoint{Addr: transport.FromAddrPort(netip.MustParseAddrPort(node[:len(node)-2]))}, nil
}
func TestZZ(t *testing.T) {
 l,_ := net.Listen("tcp4","127.0.0.1:0"); go func(){ for { c,err := l.Accept(); if err!=nil {return}; c.Close() } }()
 l2,_ := net.Listen("tcp4","127.0.0.1:0")
 n,_ := New(Config{Name:"a@h",Cookie:"x",Resolver:slowR{},HandshakeTimeout:300*time.Millisecond}); defer n.Close(); defer l.Close(); defer l2.Close()
 for _, name := range []string{"slow@h", l.Addr().String()+"@h", l2.Addr().String()+"@h","127.0.0.1:1@h"} {
  _,err := n.Connect(t.Context(), name); fmt.Println(err)
  ctx,c := context.WithTimeout(t.Context(),100*time.Millisecond)
  _,err = n.Connect(ctx, name); fmt.Println(err); c()
 }
 n2,_ := New(Config{Name:"a@h",Cookie:"x"}); defer n2.Close()
 fmt.Println(n2.Connect(t.Context(),"b@127.0.0.1"))
 fmt.Println(n2.Connect(t.Context(),"b@nohost"))
}
