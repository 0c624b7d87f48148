// Loads the programs of the playground. Each runs as long as the page, and gives one function.
import { withBase } from 'vitepress'

const loaded = {}

// What could not be loaded is tried again by the next call.
export const load = name => loaded[name] ??= start(name).catch(err => {
	delete loaded[name]
	throw err
})

// A network may fail for a moment: what fails once is done once more.
const twice = f => f().catch(f)

async function start(name) {
	const file = f => withBase('/playground/' + f)
	if (!globalThis.Go) await twice(() => new Promise((done, failed) => {
		const script = document.createElement('script')
		Object.assign(script, { src: file('wasm_exec.js'), onload: done, onerror: () => failed(new Error('wasm_exec.js cannot be loaded')) })
		document.head.append(script)
	}))
	const go = new Go()
	const { instance } = await twice(() => WebAssembly.instantiateStreaming(fetch(file(name + '.wasm')), go.importObject))
	return new Promise((done, failed) => {
		(globalThis.cnodePlayground ??= {})[name] = done
		go.run(instance).then(() => failed(new Error('the program has ended')))
	})
}
