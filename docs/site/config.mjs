// How VitePress makes pages of what main.go has written.
import fs from 'node:fs'
import { defineConfig } from 'vitepress'

const groups = JSON.parse(fs.readFileSync(new URL('../navigation.json', import.meta.url)))
const { CNODE_SITE_ROOT: root, CNODE_SITE_VERSION: version = 'main', CNODE_SITE_VERSIONS: versions = version } = process.env
const siteOf = v => new URL(v + '/', root)

// GitHub's way from a heading to its anchor.
const slugify = s => s.trim().toLowerCase().replace(/[^\p{L}\p{N}\p{M}\s_-]/gu, '').replace(/\s/g, '-')

export default defineConfig({
	title: 'cnode',
	description: 'Go nodes in Erlang and Elixir clusters',
	base: root ? siteOf(version).pathname : '/',
	srcDir: 'src',
	outDir: 'out',
	cacheDir: 'cache',
	rewrites: { 'README.md': 'index.md', ':folder(.*)/README.md': ':folder/index.md' },
	head: [['meta', { name: 'referrer', content: 'no-referrer' }]],
	markdown: { anchor: { slugify } },
	vite: { publicDir: '../public', build: { chunkSizeWarningLimit: 4000 } },
	themeConfig: {
		search: { provider: 'local' },
		outline: [2, 3],
		editLink: { pattern: 'https://github.com/cnode-go/cnode/edit/main/:path', text: 'Edit this page' },
		nav: [
			{ text: 'Pages', link: '/docs/' },
			{ text: 'Packages', link: '/api/' },
			{ text: 'Playground', link: '/docs/playground' },
			{ text: 'GitHub', link: 'https://github.com/cnode-go/cnode' },
			...(root ? [{ text: version, items: versions.split(' ').map(v => ({ text: v, link: siteOf(v).href, target: '_self' })) }] : []),
		],
		sidebar: groups,
	},
})
