import { api } from "/scripts/api.js";

// Questions that nodes.answers knows. Resolves to the answer, or to {error}; a newer question about the same thing
// makes an older answer null.
const latest = new Map();

export async function ask(name, question, subject = name) {
  const turn = (latest.get(subject) ?? 0) + 1;
  latest.set(subject, turn);
  let answer;
  try {
    const response = await api.fetchApi(`/varifold/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(question),
    });
    answer = await response.json();
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  return latest.get(subject) === turn ? answer : null;
}
