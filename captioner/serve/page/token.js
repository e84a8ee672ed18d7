// Asks for the token of the service.

const dialog = document.getElementById("token");
const field = document.getElementById("token-field");

// A promise of the token; null when nobody wants to give it. isAgain: whether one was wrong.
export function askToken(isAgain) {
  document.getElementById("token-wrong").hidden = !isAgain;
  field.value = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    let token = null;
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault(); // it goes nowhere but into requests
      token = field.value.trim();
      dialog.close();
    };
    document.getElementById("token-leave").onclick = () => dialog.close();
    dialog.onclose = () => {
      field.value = "";
      document.getElementById("token-wrong").hidden = true;
      resolve(token || null);
    };
  });
}
