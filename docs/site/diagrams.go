package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// diagram remembers a diagram, and gives the name that its pictures get.
func (s *site) diagram(text string) string {
	name := fmt.Sprintf("%.6x", sha256.Sum256([]byte(text)))
	s.diagrams[name] = text
	return name
}

// Mermaid needs a browser to know how wide its text becomes. The browser's page has the pictures as
// text, which --dump-dom prints.
const drawing = `<!doctype html><meta charset="utf-8"><body><script src="node_modules/mermaid/dist/mermaid.min.js"></script><script>
(async () => {
	const put = (id, text) => {
		const pre = document.createElement("pre")
		pre.id = id
		pre.textContent = btoa(String.fromCharCode(...new TextEncoder().encode(text)))
		document.body.append(pre)
	}
	const size = {useMaxWidth: false, htmlLabels: false}
	for (const [suffix, theme] of [["light", "neutral"], ["dark", "dark"]]) {
		mermaid.initialize({startOnLoad: false, theme, htmlLabels: false, flowchart: size, sequence: {...size, actorMargin: 20}, state: size,
			fontFamily: "Arial, Helvetica, sans-serif"})
		for (const [name, text] of Object.entries(DIAGRAMS)) {
			try {
				const drawn = new DOMParser().parseFromString((await mermaid.render("d", text)).svg, "text/html")
				put(name + "-" + suffix, new XMLSerializer().serializeToString(drawn.querySelector("svg")))
			} catch (e) {
				put("failed", e + "\n" + text)
			}
		}
	}
})()
</script>`

var drawn = regexp.MustCompile(`<pre id="([\w-]+)">([^<]*)</pre>`)

// draw makes the pictures of all diagrams, for light and for dark pages.
func (s *site) draw() error {
	if len(s.diagrams) == 0 {
		return nil
	}
	program, err := findBrowser()
	if err != nil {
		return err
	}
	diagrams, err := json.Marshal(s.diagrams)
	if err != nil {
		return err
	}
	if err := s.write("diagrams.html", strings.Replace(drawing, "DIAGRAMS", string(diagrams), 1)); err != nil {
		return err
	}
	file, err := filepath.Abs(filepath.Join(s.out, "diagrams.html"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	// The page's clock goes on only when nothing else is to be done: the program has drawn by then.
	page, err := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000",
		"--dump-dom", "file://"+file).Output()
	if err != nil {
		return fmt.Errorf("drawing diagrams with %s: %w", program, err)
	}
	pictures := drawn.FindAllStringSubmatch(string(page), -1)
	for _, m := range pictures {
		picture, err := base64.StdEncoding.DecodeString(m[2])
		if err != nil {
			return err
		}
		if m[1] == "failed" {
			return fmt.Errorf("a diagram cannot be drawn: %s", picture)
		}
		if err := s.write("public/diagrams/"+m[1]+".svg", string(picture)); err != nil {
			return err
		}
	}
	if len(pictures) != 2*len(s.diagrams) {
		return fmt.Errorf("%s has drawn %d of %d pictures", program, len(pictures), 2*len(s.diagrams))
	}
	return nil
}

func findBrowser() (string, error) {
	names := []string{"chromium-headless-shell", "chromium", "google-chrome"}
	for _, name := range names {
		if program, err := exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	return "", errors.New("diagrams are drawn by a browser: none on the PATH of " + strings.Join(names, ", "))
}
