package observer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/observer"
)

// A screen is that of an X server without one: Xvfb(1).
type screen struct {
	display string
	memory  string // a file of X's dump format, XWD: what is seen
}

func newScreen(t *testing.T) *screen {
	path := need.Program(t, "Xvfb")
	dir := t.TempDir()
	says, said, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(path, "-displayfd", "3", "-screen", "0", "1000x800x24", "-nolisten", "tcp", "-fbdir", dir)
	cmd.ExtraFiles = []*os.File{said}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	said.Close()
	defer says.Close()
	number, err := bufio.NewReader(says).ReadString('\n')
	require.NoError(t, err)
	return &screen{":" + strings.TrimSpace(number), filepath.Join(dir, "Xvfb_screen0")}
}

// picture is what is seen now. See XWDFile.h: words of 32 bits, the higher bytes first.
func (s *screen) picture(t *testing.T) *image.RGBA {
	b, err := os.ReadFile(s.memory)
	require.NoError(t, err)
	word := func(i int) int { return int(binary.BigEndian.Uint32(b[4*i:])) }
	const colorSize = 12
	header, width, height, perPixel, perLine, colors := word(0), word(4), word(5), word(11), word(12), word(19)
	require.Equal(t, 32, perPixel)
	p := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		line := b[header+colorSize*colors+y*perLine:]
		for x := range width {
			p.SetRGBA(x, y, color.RGBA{line[4*x+2], line[4*x+1], line[4*x], 255})
		}
	}
	return p
}

// Where Observer's window has what a page is about.
const belowTabs, aboveStatus, windowWidth = 66, 574, 848

// follows waits until something else than before is seen below the tabs, in more than a few colours
// (a page without content is white), and then a little for the rest; some pages move all the time.
func (s *screen) follows(t *testing.T, before *image.RGBA) (p *image.RGBA) {
	require.Eventually(t, func() bool {
		p = s.picture(t)
		colors := map[[3]byte]bool{}
		for y := belowTabs; y < aboveStatus; y++ {
			for line := p.Pix[y*p.Stride:][:4*windowWidth]; len(line) > 0; line = line[4:] {
				colors[[3]byte(line)] = true
			}
		}
		return len(colors) > 5 && (before == nil || !bytes.Equal(p.Pix, before.Pix))
	}, expect.Limit, 100*time.Millisecond)
	for range 4 {
		was := p
		time.Sleep(300 * time.Millisecond)
		if p = s.picture(t); bytes.Equal(p.Pix, was.Pix) {
			break
		}
	}
	return p
}

// Observer itself, its windows on a screen: each of its pages about the Go node is drawn, and none
// of them ends it. The pictures go to the directory that CNODE_TEST_SCREENSHOTS names.
func TestObserverOnScreen(t *testing.T) {
	s := newScreen(t)
	tried := false
	of := func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{
			EpmdPort: port, ExtraArgs: []string{"-pa", beams(t, r)},
			Env: []string{"DISPLAY=" + s.display, "NO_AT_BRIDGE=1", "GDK_BACKEND=x11"},
		})
		if erl.Eval(t, `code:which(wx)`) == "non_existing" {
			t.Skip("this Erlang has no wx: the releases in root file systems have none")
		}
		tried = true
		n := start(t, "go"+r.String()+"@127.0.0.1", port, &observer.Options{Application: "shop", Description: "a shop"})
		m := &meeting{t: t, erl: erl, n: n, epmd: port}
		// its menu of nodes has ids from 1001 on
		m.is("true", `ok = observer:start(), lists:any(fun(Id) ->
			whereis(observer) ! {wx, Id, undefined, undefined, {wxCommand, command_menu_selected, [], 0, 0}},
			observer_wx:get_active_node() =:= N end, [1001, 1002, 1003])`)
		var seen *image.RGBA
		for i, page := range strings.Fields("system load memory applications processes ports sockets tables trace") {
			m.is("true", fmt.Sprintf(`{_, D} = process_info(whereis(observer), dictionary), wx:set_env(proplists:get_value(wx_env, D)),
				[_, State | _] = sys:get_state(observer), [Book] = [E || {_, _, wxNotebook, _} = E <- tuple_to_list(State)],
				is_integer(wxNotebook:setSelection(Book, %d))`, i))
			seen = s.follows(t, seen)
			if dir := os.Getenv("CNODE_TEST_SCREENSHOTS"); dir != "" {
				f, err := os.Create(filepath.Join(dir, fmt.Sprintf("observer-%d-%s.png", i, page)))
				require.NoError(t, err)
				require.NoError(t, png.Encode(f, seen))
				require.NoError(t, f.Close())
			}
			m.is("true", `is_pid(whereis(observer))`)
		}
		m.eval(`observer:stop()`)
	}
	packaged := false // that of the distribution's packages is here, with which wx can be
	for _, r := range otp.Releases(t) {
		packaged = packaged || r.Number == 25
		t.Run(r.String(), func(t *testing.T) { of(t, r) })
	}
	if !tried && packaged {
		need.Missing(t, "no Erlang here has wx (Debian: erlang-wx)")
	}
}
