// Reads GGUF files with llama.cpp, for bench/gguf_llama_cpp.py: node gguf_llama_cpp.mjs NODE_MODULES JOBS ANSWERS
import fs from "fs";
import path from "path";
import {pathToFileURL} from "url";

const [modules, jobsFile, answersFile] = process.argv.slice(2);
const entry = path.join(path.resolve(modules), "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(entry).href);
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
// All tokens, none favoured: what is drawn from is then the softmax of the logits.
const whole = {probabilities: true, options: {temperature: 1, topK: 0, topP: 1, minP: 0}};

const answers = [];
for (const job of JSON.parse(fs.readFileSync(jobsFile))) {
    const model = await llama.loadModel({modelPath: job.path});
    const context = await model.createContext({contextSize: job.ids.length + 8, batchSize: job.ids.length, flashAttention: false});
    const steps = await context.getSequence().controlledEvaluate(job.ids.map((id) => [id, {generateNext: whole}]));
    answers.push({
        ids: job.texts.map((text) => Array.from(model.tokenize(text))),
        probabilities: steps.map((step) => Array.from(step.next.probabilities.entries())),
    });
    await model.dispose();
}
fs.writeFileSync(answersFile, JSON.stringify(answers));
process.exit(0);
