{#- Fails for each text that is shorter than `min_length` or longer than `max_length` characters. -#}
{% test value_length_between(model, column_name, min_length=0, max_length=none) %}

select {{ column_name }}
from {{ model }}
where length({{ column_name }}) < {{ min_length }}
    {% if max_length is not none %}or length({{ column_name }}) > {{ max_length }}{% endif %}

{% endtest %}
