import { h } from 'vue'
import theme from 'vitepress/theme'
import PlaygroundCapture from './PlaygroundCapture.vue'
import PlaygroundNodes from './PlaygroundNodes.vue'
import PlaygroundTerms from './PlaygroundTerms.vue'
import Start from './Start.vue'
import './style.css'

export default {
	extends: theme,
	Layout: () => h(theme.Layout, null, { 'home-hero-image': () => h(Start) }),
	enhanceApp: ({ app }) => Object.entries({ PlaygroundCapture, PlaygroundNodes, PlaygroundTerms }).forEach(c => app.component(...c)),
}
